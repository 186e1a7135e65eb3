"""Collects these tests only in the environment that `make neighbours` makes."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("llama_index.llms.openai") is None:
    collect_ignore_glob = ["test_*.py"]
