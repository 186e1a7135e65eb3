"""Logs that Inspect wrote, as runs: what is read of them, and which are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai", reason="only in the environment of `make inspect`")
import inspect_ai
from inspect_ai.log import EvalError, EvalLog, EvalSample, read_eval_log, write_eval_log

from guardalign_middleware.cli.report import run_report
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.experiment import Experiment
from guardalign_middleware.evaluation.inspect import provider
from guardalign_middleware.evaluation.inspect.logs import logs_at, write_run
from guardalign_middleware.evaluation.judges import Judgement
from guardalign_middleware.testing import red_chain

SUITE = "guardalign_middleware/mini"
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _red(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain without a model, and a quiet Inspect."""
    monkeypatch.setenv("INSPECT_DISPLAY", "none")
    monkeypatch.setenv("INSPECT_TRACE_FILE", "")
    monkeypatch.setitem(provider._CHAINS, "red", red_chain())


def asked(folder: Path, arm: str = "prefix", **options: Any) -> EvalLog:
    (log,) = inspect_ai.eval(
        SUITE,
        model="guardalign/red",
        model_args={"arm": arm},
        task_args={"split": "text-harmful", "limit": 4} | options.pop("task_args", {}),
        log_dir=str(folder),
        **options,
    )
    assert log.status == "success", log.error
    return log


def test_a_log_becomes_the_run_that_it_tells_of(tmp_path: Path) -> None:
    logs = [asked(tmp_path / "logs", arm) for arm in ("vanilla", "prefix")]
    folder = write_run(logs_at(tmp_path / "logs"), tmp_path / "run")
    made = Experiment.read(tmp_path / "run")
    assert made.arms == ("vanilla", "prefix")
    assert (made.chosen.manifest.name, made.chosen.limit, made.chosen.whole) == ("mini", 4, True)
    assert folder.judges == ("mini-templates-1",)
    for log in logs:
        arm = str(log.eval.model_args["arm"])
        samples = log.samples or []
        assert list(made.answers[arm]) == [str(sample.id) for sample in samples]
        for sample in samples:
            answer = made.answers[arm][str(sample.id)]
            assert answer["text"] == sample.output.completion
            assert answer["calls"] == 1
            assert answer["seconds"] == sample.output.time
            score = (sample.scores or {})["judged"]
            judged = made.judged["mini-templates-1"][arm][str(sample.id)]
            assert judged == Judgement(**(score.metadata or {}))
    row = made.rows("mini-templates-1")[-1]
    assert (row.arm, row.wanted, row.unparsed, row.answered) == ("prefix", "refuse", 4, 4)


def test_the_page_of_a_folder_of_logs_and_of_one_log(tmp_path: Path) -> None:
    log = asked(tmp_path / "logs")
    told = (log.samples or [])[0].output.completion
    for place in (tmp_path / "logs", Path(log.location)):
        assert run_report(place, tmp_path / "page.html", data=None, judge=None) == 0
        page = (tmp_path / "page.md").read_text()
        assert page.startswith("# Miniature world")
        assert "inspect-ai 0." in page
        assert str(tmp_path) not in page
        assert told not in page


def test_both_forms_of_a_log_give_the_same_run(tmp_path: Path) -> None:
    log = asked(tmp_path / "logs")
    (tmp_path / "json").mkdir()
    write_eval_log(read_eval_log(log.location), str(tmp_path / "json" / "log.json"))
    first, second = (
        write_run(logs_at(tmp_path / name), tmp_path / f"run-{name}").path
        for name in ("logs", "json")
    )
    files = [path.relative_to(first) for path in first.rglob("*.json*")]
    assert len(files) == 3
    for name in files:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_logs_of_several_runs_are_no_run(tmp_path: Path) -> None:
    first = Path(asked(tmp_path / "a", "vanilla").location)
    for other, named in (
        (asked(tmp_path / "b", "vanilla"), "both of the arm vanilla"),
        (asked(tmp_path / "c", task_args={"limit": 5}), "a different items, items_sha256, limit"),
        (asked(tmp_path / "d", max_tokens=3), "a different options"),
    ):
        with pytest.raises(ConfigError, match=named):
            write_run([first, Path(other.location)], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_logs_are_refused_and_a_failed_item_is_missing(tmp_path: Path) -> None:
    place = asked(tmp_path / "logs").location

    def changed(change: Callable[[EvalLog, list[EvalSample]], None]) -> Path:
        log = read_eval_log(place)
        change(log, log.samples or [])
        write_eval_log(log, str(tmp_path / "log.json"))
        return tmp_path / "log.json"

    def other_task(log: EvalLog, samples: list[EvalSample]) -> None:
        log.eval.task = "riddle"

    def other_model(log: EvalLog, samples: list[EvalSample]) -> None:
        log.eval.model = "mockllm/model"
        samples[0].output.metadata = None

    def other_arm(log: EvalLog, samples: list[EvalSample]) -> None:
        (samples[0].output.metadata or {})["arm"] = "full,vanilla"

    def epochs(log: EvalLog, samples: list[EvalSample]) -> None:
        samples.append(samples[0].model_copy(update={"epoch": 2}))

    def unjudged(log: EvalLog, samples: list[EvalSample]) -> None:
        for sample in samples:
            sample.scores = None

    def nothing(log: EvalLog, samples: list[EvalSample]) -> None:
        samples.clear()

    def failed(log: EvalLog, samples: list[EvalSample]) -> None:
        samples[0].error = EvalError(message="no", traceback="", traceback_ansi="")

    for change, named in (
        (other_task, "the task 'riddle', which is no suite"),
        (other_model, "was answered by mockllm/model, which is no arm"),
        (other_arm, "which is no arm"),
        (epochs, "several answers to the item text-harmful-0"),
        (unjudged, "not judged. Judge them: inspect score"),
        (nothing, "has no answers"),
    ):
        with pytest.raises(ConfigError, match=named):
            write_run([changed(change)], tmp_path / "run")
    (tmp_path / "torn.eval").write_bytes(Path(place).read_bytes()[:500])
    with pytest.raises(ConfigError, match="cannot be read as a log"):
        write_run([tmp_path / "torn.eval"], tmp_path / "run")
    assert not (tmp_path / "run").exists()
    found = write_run([changed(failed)], tmp_path / "run").answers("prefix")
    assert list(found) == [f"text-harmful-{n}" for n in (1, 2, 3)]
