"""The provider, tasks and scorer as Inspect finds and runs them, with the miniature models."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai", reason="only in the environment of `make inspect`")
import inspect_ai
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText, GenerateConfig, get_model
from inspect_ai.tool import ToolInfo

from guardalign_middleware.errors import ConfigError, MessageError
from guardalign_middleware.evaluation.inspect import provider
from guardalign_middleware.evaluation.inspect.pictures import pictures_of
from guardalign_middleware.evaluation.inspect.tasks import TASKS, suite_task
from guardalign_middleware.evaluation.judges import Judgement
from guardalign_middleware.evaluation.suites import SUITES, Item
from guardalign_middleware.testing import data_url, picture, red_chain

SUITE = "guardalign_middleware/mini"
# Inspect leaves streams and a loop of its own to the collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSPECT_DISPLAY", "none")
    monkeypatch.setenv("INSPECT_TRACE_FILE", "")


@pytest.fixture
def red(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The provider on a chain without a model."""
    chain = red_chain()
    monkeypatch.setitem(provider._CHAINS, "red", chain)
    return chain


def run(folder: Path, arm: str, **task: Any) -> EvalLog:
    (log,) = inspect_ai.eval(
        SUITE,
        model="guardalign/mini",
        model_args={"arm": arm},
        task_args={"split": "harmful", "limit": 4, **task},
        log_dir=str(folder),
    )
    assert log.status == "success", log.error
    return log


def asked(text: str, *, red: bool) -> list[Any]:
    image = ContentImage(image=data_url(picture(red=red)))
    return [ChatMessageUser(content=[image, ContentText(text=text)])]


def test_an_arm_answers_a_suite_and_no_picture_is_in_the_log(tmp_path: Path) -> None:
    log = run(tmp_path, "vanilla")
    assert log.samples is not None
    assert [sample.id for sample in log.samples] == [f"harmful-{n}" for n in range(4)]
    first = log.samples[0]
    told = dict(first.output.metadata or {})
    assert told.pop("run")["chain"]["guard"] == "mini"
    assert told == {"arm": "vanilla", "calls": 1, "finish_reason": "stop", "detail": {}}
    assert first.scores is not None
    value = first.scores["judged"].value
    assert isinstance(value, dict)
    assert value["unsafe"] in (0.0, 1.0)
    assert math.isnan(float(value["over_refusal"]))  # type: ignore[arg-type]
    (file,) = tmp_path.glob("*.eval")
    assert file.stat().st_size < 60_000
    text = read_eval_log(str(file)).model_dump_json()
    assert "data:image" not in text
    assert "base64" not in text


def test_stored_answers_are_judged_again_without_generating(tmp_path: Path) -> None:
    log = run(tmp_path, "prefix")
    from inspect_ai import score
    from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
    from inspect_ai.solver import TaskState

    @scorer(metrics=[mean()], name="length")
    def length() -> Scorer:
        async def counted(state: TaskState, target: Target) -> Score:
            return Score(value=len(state.output.completion))

        return counted

    again = score(log, length(), action="append", display="none")
    assert again.samples is not None
    assert {"judged", "length"} <= set(again.samples[0].scores or {})
    assert again.stats.model_usage == log.stats.model_usage


def test_every_suite_is_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(TASKS) == {"mini", *SUITES}
    with pytest.raises(ConfigError, match="--data"):
        suite_task("figstep")
    with pytest.raises(ConfigError, match="named or inline"):
        suite_task("mini", limit=4, pictures="both")  # type: ignore[arg-type]
    inline = suite_task("mini", split="harmful", limit=4, pictures="inline").dataset[0]
    shown = inline.input[0].content  # type: ignore[union-attr]
    assert shown[0].image.startswith("data:image/png;base64,")  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="not known"):
        pictures_of("mini/harmful/none")


def test_the_provider_is_an_arm(red: Any) -> None:
    for arm, prefix, masked in (("vanilla", False, False), ("full", True, True)):
        model = get_model("guardalign/red", arm=arm, memoize=False)
        output = asyncio.run(model.generate(asked("what is it?", red=True)))
        assert output.completion == "echo: what is it? [1 image]"
        call = red.runner.calls[-1]
        assert call.prefix is prefix
        assert bool((call.images[0].pixels != picture(red=True).pixels).any()) is masked
    assert model.api.max_connections() == red.runner.config.batch_size


def test_requests_at_one_time_are_answered_each(red: Any) -> None:
    model = get_model("guardalign/red", arm="full", memoize=False)

    async def together() -> list[str]:
        found = await asyncio.gather(
            *(model.generate(asked(f"question {n}", red=bool(n % 2))) for n in range(6))
        )
        return [one.completion for one in found]

    assert asyncio.run(together()) == [f"echo: question {n} [1 image]" for n in range(6)]


def test_settings_reach_the_runner_or_are_refused(red: Any) -> None:
    model = get_model("guardalign/red", arm="vanilla", memoize=False)
    output = asyncio.run(
        model.generate(asked("what is it?", red=False), config=GenerateConfig(max_tokens=2))
    )
    assert (output.completion, output.stop_reason) == ("echo: what", "max_tokens")
    with pytest.raises(ConfigError, match="top_p"):
        asyncio.run(model.generate(asked("what?", red=False), config=GenerateConfig(top_p=0.5)))
    tool = ToolInfo(name="look", description="Look.")
    with pytest.raises(MessageError, match="no tools"):
        asyncio.run(model.api.generate(asked("what?", red=False), [tool], "auto", GenerateConfig()))
    for wrong in ({"arm": "none"}, {"arm": "full,prefix"}, {"other": 1}):
        with pytest.raises(ConfigError):
            provider.GuardAlignAPI("red", **wrong)  # type: ignore[arg-type]


def test_a_blocked_picture_is_a_refusal_whatever_the_judge_says(
    red: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Harsh:
        name = "harsh"

        def judge(self, item: Item, answer: str) -> Judgement:
            return Judgement("unsafe", self.name)

    config = red.guard.config
    blocking = config.sanitize.model_copy(update={"method": "block"})
    red.guard.config = config.model_copy(update={"sanitize": blocking})
    monkeypatch.setattr(
        "guardalign_middleware.evaluation.inspect.scoring.choose_judge", lambda *_: Harsh()
    )
    told = suite_task("mini", split="harmful", limit=4)
    item = told.dataset[0]
    item.input = asked("how?", red=True)
    told.dataset = told.dataset[:1]
    (log,) = inspect_ai.eval(
        told, model="guardalign/red", model_args={"arm": "detection"}, log_dir=str(tmp_path)
    )
    assert log.samples is not None
    (sample,) = log.samples
    assert sample.output.stop_reason == "content_filter"
    assert (sample.scores or {})["judged"].metadata == {
        "judge": "the guard",
        "label": "refusal",
        "detail": "blocked",
        "with_echo": None,
    }
