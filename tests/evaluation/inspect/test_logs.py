"""Inspect's logs where Inspect is not installed; tests/inspect reads real ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from guardalign_middleware.cli.report import run_report
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.inspect.logs import logs_at


def test_what_is_a_log(tmp_path: Path) -> None:
    assert logs_at(tmp_path) == ()
    for name in ("b.json", "a.json"):
        (tmp_path / name).touch()
    assert [path.name for path in logs_at(tmp_path)] == ["a.json", "b.json"]
    (tmp_path / "c.eval").touch()
    # Inspect keeps lists of its own beside its logs, as JSON.
    assert [path.name for path in logs_at(tmp_path)] == ["c.eval"]
    assert logs_at(tmp_path / "c.eval") == (tmp_path / "c.eval",)
    (tmp_path / "run.json").touch()
    assert logs_at(tmp_path) == ()
    assert logs_at(tmp_path / "absent") == ()


def test_reading_one_needs_inspect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai.log", None)
    (tmp_path / "a.eval").touch()
    with pytest.raises(ConfigError, match=r"pip install 'guardalign-core\[eval\]'"):
        run_report(tmp_path, tmp_path / "page.html", data=None, judge=None)
