"""Threads that share a runner get the answers they would get alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from guardalign_middleware.errors import Overloaded
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.generation.engine import inference as inference_module
from guardalign_middleware.generation.engine.decoding import NextTokens
from guardalign_middleware.replies import Generated
from guardalign_middleware.types import Message, TextPart
from tests.support.messages import conversations, picture, user

Ask = Callable[[CalibratedRunner], Generated]


def requests(rows: list[list[Message]]) -> list[Ask]:
    """Requests that differ in every option that rows of a batch may differ in."""
    asks: list[Ask] = []
    for index, row in enumerate(rows):
        options: dict[str, Any] = {
            "prefix": index % 4 != 3,
            "calibrate": index % 3 != 2,
            "max_new_tokens": 2 + index % 3,
            "temperature": 0.7 if index % 2 else 0.0,
            "seed": index,
            "stop": ["e"] if index % 5 == 4 else None,
        }
        if index % 6 == 5:
            asks.append(lambda runner, row=row, options=options: streamed(runner, row, options))
        else:
            asks.append(lambda runner, row=row, options=options: runner.generate(row, **options))
    return asks


def streamed(runner: CalibratedRunner, row: list[Message], options: dict[str, Any]) -> Generated:
    stream = runner.stream(row, **options)
    assert "".join(stream) == stream.result.text
    return stream.result


def recorder() -> Any:
    """A `NextTokens` class that keeps all scores, by the seed of the row and the step.

    Every request has its own seed, so the seed identifies the request of a row.
    """

    class Recorder(NextTokens):
        seen: ClassVar[dict[tuple[int, int], Tensor]] = {}
        batches: ClassVar[list[int]] = []

        def __init__(self, temperatures: Sequence[float], seeds: Sequence[int]) -> None:
            super().__init__(temperatures, seeds)
            self.seeds = seeds
            self.step = 0
            self.batches.append(len(seeds))

        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            for seed, row in zip(self.seeds, scores, strict=True):
                self.seen[seed, self.step] = row.clone()
            self.step += 1
            return super().__call__(input_ids, scores)

    return Recorder


def compare(
    runner: CalibratedRunner,
    asks: list[Ask],
    monkeypatch: pytest.MonkeyPatch,
    *,
    threads: int,
    each: int,
) -> None:
    """Answers and scores of `threads` x `each` requests at once against those of single runs."""
    alone, together = recorder(), recorder()
    monkeypatch.setattr(inference_module, "NextTokens", alone)
    expected = [ask(runner) for ask in asks]
    assert set(alone.batches) == {1}
    monkeypatch.setattr(inference_module, "NextTokens", together)
    order = np.random.default_rng(0).integers(0, len(asks), (threads, each))

    def client(part: NDArray[np.int64]) -> list[Generated]:
        return [asks[index](runner) for index in part]

    with ThreadPoolExecutor(threads) as pool:
        got = list(pool.map(client, order))
    for part, answers in zip(order, got, strict=True):
        assert answers == [expected[index] for index in part]
    assert max(together.batches) > 1
    asked = set(order.flatten().tolist())
    for (seed, step), scores in alone.seen.items():
        if seed in asked:
            # Relative to the row: the last bits of a float32 sum depend on the batch's shape.
            near = 1e-5 * float(scores.abs().max())
            torch.testing.assert_close(together.seen[seed, step], scores, rtol=0, atol=near)


def test_threads_and_settings_do_not_meet(
    runner: CalibratedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [[user(picture(i), f"What is number {i}?")] for i in range(4)]
    rows += [[user(f"Tell me {i} {'times ' * i}")] for i in range(4)]
    compare(runner, requests(rows), monkeypatch, threads=4, each=4)


@pytest.mark.parametrize("each", [20, pytest.param(200, marks=pytest.mark.evidence)])
def test_eight_threads_of_many_requests(
    runner: CalibratedRunner, monkeypatch: pytest.MonkeyPatch, each: int
) -> None:
    rows = [
        [user(picture(i), "What is in the picture?")] if i % 3 == 0 else [user(f"Tell me {i}")]
        for i in range(24)
    ]
    compare(runner, requests(rows), monkeypatch, threads=8, each=each)


def test_an_abandoned_stream_stops_within_two_tokens(
    runner: CalibratedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[bool] = []
    abandoned, waiting = threading.Event(), threading.Event()
    gate = threading.Semaphore(0)

    class Slow(NextTokens):
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            # Token by token, so the test can count those after the reader has gone.
            if len(steps) == 8:
                waiting.set()
            assert gate.acquire(timeout=300)
            steps.append(abandoned.is_set())
            return super().__call__(input_ids, scores)

    monkeypatch.setattr(inference_module, "NextTokens", Slow)
    stream = runner.stream([user(picture(), "What is in the picture?")], max_new_tokens=500)
    gate.release(8)
    next(stream)
    assert waiting.wait(30)
    abandoned.set()
    del stream
    gate.release(1000)
    # The model is free again: another question is answered.
    assert runner.generate([user("Hello")], max_new_tokens=2).text is not None
    # Two of the next question, and one that was under way.
    assert sum(steps) <= 2 + 1


def test_a_full_queue_is_an_error_of_the_caller_alone(
    make_runner: Callable[..., CalibratedRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make_runner(max_queue=1, max_wait_ms=0, max_new_tokens=2)
    busy, free = threading.Event(), threading.Event()
    answer = runner._service._generate

    def held(jobs: Any) -> None:
        busy.set()
        assert free.wait(300)
        answer(jobs)

    monkeypatch.setattr(runner._service, "_generate", held)
    first = runner.stream([user("one")])
    assert busy.wait(300)
    second = runner.stream([user("two")])
    for ask in (runner.generate, runner.stream):
        with pytest.raises(Overloaded):
            ask([user("three")])
    # Leaving makes room, before the model is free.
    second.close()
    assert second.result.finish_reason == "cancelled"
    third = runner.stream([user("three")])
    free.set()
    assert "".join(first) == first.result.text
    assert "".join(third) == third.result.text
    assert len(runner.generate_batch(conversations())) == 4
    assert runner.generate([Message("user", (TextPart("four"),))]).usage.output_tokens > 0


def test_a_stream_waits_for_no_other_caller_s_pictures(
    runner: CalibratedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    preparing, go_on = threading.Event(), threading.Event()
    gate = threading.Semaphore(0)
    call = runner._prompts._call

    class Slow(NextTokens):
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            assert gate.acquire(timeout=300)
            return super().__call__(input_ids, scores)

    def held(processor: Any, prompts: list[str], images: list[list[Any]]) -> dict[str, Any]:
        # As long as a picture of many megapixels takes, inside the lock of the tokenizer.
        preparing.set()
        assert go_on.wait(300)
        return call(processor, prompts, images)

    monkeypatch.setattr(inference_module, "NextTokens", Slow)
    stream = runner.stream([user(picture(), "What is in the picture?")], max_new_tokens=5)
    monkeypatch.setattr(runner._prompts, "_call", held)
    other = threading.Thread(target=lambda: runner.generate([user(picture(1), "x")]))
    other.start()
    assert preparing.wait(300)
    gate.release(5)
    text = "".join(stream)
    assert not go_on.is_set()
    assert text == stream.result.text
    go_on.set()
    gate.release(1000)
    other.join(300)


def test_runners_with_one_tokenizer_share_its_lock(
    make_runner: Callable[..., CalibratedRunner],
) -> None:
    first, second = make_runner(), make_runner()
    assert first._prompts._preparing is second._prompts._preparing
    assert first._text_of._lock is not first._prompts._preparing


def test_a_cancelled_future_of_one_row_leaves_the_others(runner: CalibratedRunner) -> None:
    rows = [[user(f"What is {number}?")] for number in range(3)]
    expected = [runner.generate(row) for row in rows]
    tickets = runner.start_batch(rows)
    assert not tickets[1].future.cancel()
    assert [ticket.future.result(300) for ticket in tickets] == expected
