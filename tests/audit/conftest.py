from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.audit_logs import write


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of six lines."""
    path = tmp_path / "audit.jsonl"
    write(path, 6)
    return path
