"""Inspect's logs where Inspect is not installed; tests/inspect reads real ones."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from guardalign_middleware.cli.report import run_report
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.inspect import logs
from guardalign_middleware.evaluation.inspect.logs import logs_at, write_run


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


def sample(key: str, arm: str, **run: Any) -> Any:
    """A judged answer, with what the provider says of the model."""
    told = {
        "preset": "red",
        "model": "echo",
        "chain": {"fingerprint": "f"},
        "generation": {"max_new_tokens": 8, "temperature": 0.0},
        "versions": {"guardalign": "1"},
        "weights": {"model": {"a": "0"}},
    } | run
    metadata = {"arm": arm, "calls": 1, "finish_reason": "stop", "detail": {}, "run": told}
    score = SimpleNamespace(metadata={"label": "refusal", "judge": "a judge"})
    return SimpleNamespace(
        id=key,
        error=None,
        output=SimpleNamespace(completion="no", usage=None, time=1.0, metadata=metadata),
        scores={"judged": score},
    )


def log_of(*samples: Any, eta_threshold: float | None = None) -> Any:
    return SimpleNamespace(
        eval=SimpleNamespace(
            task="guardalign_middleware/mini",
            metadata={"split": "harmful", "items": 2, "items_sha256": "0"},
            task_args={"limit": 4},
            model="guardalign/red",
            model_args={"eta_threshold": eta_threshold},
            created="now",
            dataset=SimpleNamespace(location=None),
        ),
        samples=samples,
    )


def written(monkeypatch: pytest.MonkeyPatch, target: Path, *read: Any) -> Any:
    found = {Path(f"{number}.eval"): one for number, one in enumerate(read)}
    monkeypatch.setattr(logs, "_log", lambda path: found[path])
    return write_run(list(found), target)


def test_the_threshold_of_eta_is_of_that_arm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = log_of(sample("0", "vanilla"))
    second = log_of(sample("0", "eta"), eta_threshold=0.2)
    folder = written(monkeypatch, tmp_path / "run", first, second)
    assert folder.arm_settings == {"eta": {"threshold": 0.2}}
    assert (folder.identity["options"], folder.arms) == ({"max_new_tokens": 8}, ("eta", "vanilla"))


@pytest.mark.parametrize(
    ("run", "named"),
    [
        ({"generation": {"max_new_tokens": 8, "temperature": 0.7}}, "different generation"),
        ({"generation": {"max_new_tokens": 9, "temperature": 0.0}}, "different options"),
        ({"weights": {"model": {"a": "1"}}}, "different weights"),
    ],
)
def test_arms_that_answered_otherwise_are_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: dict[str, Any], named: str
) -> None:
    first, second = log_of(sample("0", "vanilla")), log_of(sample("0", "full", **run))
    with pytest.raises(ConfigError, match=named):
        written(monkeypatch, tmp_path / "run", first, second)
    mixed = log_of(sample("0", "vanilla"), sample("1", "vanilla", **run))
    with pytest.raises(ConfigError, match="several models or settings"):
        written(monkeypatch, tmp_path / "run", mixed)
