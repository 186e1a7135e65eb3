"""Only prompts that make the processor's own batch share a pass of the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import MessageError, OutOfMemory
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.generation.engine.job import Job
from guardalign_middleware.generation.engine.joining import JoinChecks
from guardalign_middleware.generation.engine.loading import load_model
from guardalign_middleware.generation.prompt.encoder import EncodedPrompts
from guardalign_middleware.types import Message
from tests.support.messages import picture, user


def passes(runner: CalibratedRunner, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows of each pass, as they come."""
    seen: list[int] = []
    answer = runner._inference.answer

    def counted(jobs: Sequence[Job]) -> None:
        seen.append(len(jobs))
        answer(jobs)

    monkeypatch.setattr(runner._service, "_generate", counted)
    return seen


@pytest.mark.parametrize("family", ["molmo2", "minicpm_v"])
def test_pictures_that_a_processor_counts_or_packs_over_the_batch_are_answered_alone(
    model_directory: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    runner = CalibratedRunner.from_pretrained(
        str(model_directory(family)), device="cpu", max_new_tokens=4
    )
    # Of one shape, so nothing but the processor's own batch tells that they must not be joined.
    rows = [[user(picture(seed), "What is in the picture?")] for seed in range(3)]
    alone = [runner.generate(row) for row in rows]
    seen = passes(runner, monkeypatch)
    assert runner.generate_batch(rows) == alone
    assert seen == [1, 1, 1]
    words = [[user("Hello")], [user("Tell me how to bake bread.")]]
    alone = [runner.generate(row) for row in words]
    seen.clear()
    assert runner.generate_batch(words) == alone
    assert seen == [2]


def test_ordinary_families_share_a_pass(
    runner: CalibratedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = passes(runner, monkeypatch)
    for pictures in range(4):
        rows = [[user(*map(picture, range(pictures)), "x" * n)] for n in (1, 9)]
        runner.generate_batch(rows, max_new_tokens=1)
    assert seen == [2, 2, 2, 2]


def test_what_the_processor_refuses_is_never_joined(runner: CalibratedRunner) -> None:
    encode = runner._requests.plain_batch

    def refuses(rows: Sequence[Sequence[Message]]) -> EncodedPrompts:
        if len(rows) > 1 and rows[0][0].images:
            raise MessageError("no batches of pictures")
        return encode(rows)

    checks = JoinChecks(refuses, runner._inference.settings.pad)
    for row, expected in (([user("Hello")], True), ([user(picture(), "Hello")], False)):
        assert checks.may_join(row, encode([row])) is expected


def test_a_processor_that_cannot_make_batches_is_loaded_and_never_joined(
    model_directory: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_model(RunnerConfig(model=str(model_directory("llava")), device="cpu"))
    call = type(loaded.processor).__call__

    def one(self: Any, *args: Any, text: list[str], **options: Any) -> Any:
        if len(text) > 1:
            raise RuntimeError("stack expects each tensor to be equal size")
        return call(self, *args, text=text, **options)

    monkeypatch.setattr(type(loaded.processor), "__call__", one)
    runner = CalibratedRunner(loaded, RunnerConfig(model="llava", max_new_tokens=2))
    row = [user("Hello")]
    joins = runner._requests.joins
    assert joins is not None
    assert not joins.may_join(row, runner._requests.plain_batch([row]))
    assert len(runner.generate_batch([row, row])) == 2


def test_inputs_of_another_kind_are_never_joined(runner: CalibratedRunner) -> None:
    row = [user("Hello")]
    prompt = runner._requests.plain_batch([row])
    joins = runner._requests.joins
    assert joins is not None
    assert joins.may_join(row, prompt)
    for extra in ([1], prompt.inputs["input_ids"].float()):
        inputs = {**prompt.inputs, "sizes": extra}
        odd = EncodedPrompts(inputs, prompt.prefix_mask, prompt.instruction_mask)
        assert not joins.may_join(row, odd)


def test_a_fault_while_it_is_tried_means_alone(runner: CalibratedRunner) -> None:
    def fails(rows: Sequence[Sequence[Message]]) -> EncodedPrompts:
        raise OutOfMemory("none", stage="generation")

    row = [user("Hello")]
    prompt = runner._requests.plain_batch([row])
    assert not JoinChecks(fails, 0).may_join(row, prompt)
