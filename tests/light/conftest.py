"""Collects these tests only where `make light` says which Python has the light installation."""

from __future__ import annotations

import os

LIGHT_PYTHON = "LIGHT_PYTHON"

if LIGHT_PYTHON not in os.environ:
    collect_ignore_glob = ["test_*.py"]
