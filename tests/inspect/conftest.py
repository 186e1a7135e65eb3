"""Collects these tests only in the environment that `make inspect` makes."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("inspect_ai") is None:
    collect_ignore_glob = ["test_*.py"]
