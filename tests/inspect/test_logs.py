"""Logs that Inspect wrote, as runs: what is read of them, and which are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai", reason="only in the environment of `make inspect`")
import inspect_ai
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalError, EvalLog, read_eval_log, write_eval_log

from guardalign_middleware.cli.report import run_report
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.experiment import Experiment
from guardalign_middleware.evaluation.inspect import provider
from guardalign_middleware.evaluation.inspect.logs import logs_at, write_run
from guardalign_middleware.evaluation.inspect.tasks import suite_task
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


def asked(
    folder: Path, arm: str = "full", model: str = "guardalign/red", **options: Any
) -> EvalLog:
    own = model.startswith("guardalign")
    (log,) = inspect_ai.eval(
        options.pop("tasks", SUITE),
        model=model,
        model_args={"arm": arm} if own else {},
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
        assert "inspect_ai" in page
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


@task
def riddle() -> Task:
    return Task(dataset=[Sample(input="what?", target="that")])


def test_other_logs_are_refused(tmp_path: Path) -> None:
    inline = suite_task("mini", split="text-harmless", limit=4, pictures="inline")
    unjudged = asked(tmp_path, score=False)
    cases = [
        (asked(tmp_path, model="mockllm/model", tasks=riddle()), "the task 'riddle', which is no"),
        (asked(tmp_path, model="mockllm/model", tasks=inline), "by mockllm/model, which is no arm"),
        (asked(tmp_path, epochs=2), "several answers to the item text-harmful-0"),
        (unjudged, "not judged. Judge them: inspect score"),
    ]
    for log, named in cases:
        with pytest.raises(ConfigError, match=named):
            write_run([Path(log.location)], tmp_path / "run")


def test_an_item_that_failed_is_missing(tmp_path: Path) -> None:
    log = read_eval_log(asked(tmp_path / "logs").location)
    samples = log.samples or []
    samples[0].error = EvalError(message="no", traceback="", traceback_ansi="")
    write_eval_log(log, str(tmp_path / "log.json"))
    folder = write_run([tmp_path / "log.json"], tmp_path / "run")
    assert len(folder.answers("prefix")) == len(samples) - 1
