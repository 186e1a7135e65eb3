from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.audit_logs import KEY, write, write_key


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of six lines."""
    path = tmp_path / "audit.jsonl"
    write(path, 6)
    return path


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """The key of the log, on a line as editors write it."""
    return write_key(tmp_path, KEY + b"\n")
