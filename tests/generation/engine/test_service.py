"""Many callers, one thread for the model: batches, faults, cancellation, a queue that can be full.

The jobs are real; a stand-in for the model answers them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from guardalign_middleware.errors import GuardError, OutOfMemory, Overloaded
from guardalign_middleware.generation.engine.decoding import RowDecoder
from guardalign_middleware.generation.engine.job import Job, Settings
from guardalign_middleware.generation.engine.queue import BatchPolicy
from guardalign_middleware.generation.engine.service import GenerationService
from guardalign_middleware.generation.options import ResolvedOptions
from guardalign_middleware.generation.prompt.encoder import EncodedPrompts
from guardalign_middleware.replies import CalibrationReport

SECONDS = 300
OFF = CalibrationReport("off", prefix=False)


def job(number: int = 0, emit: Callable[[str], None] | None = None) -> Job:
    """A job whose prompt is one token, its number."""
    ids = torch.tensor([[number]])
    blank = torch.zeros_like(ids, dtype=torch.bool)
    prompt = EncodedPrompts({"input_ids": ids, "attention_mask": ids * 0 + 1}, blank, blank)
    return Job(
        prompt,
        Settings(ResolvedOptions(3, 0.0, 0, (), ()), prefix=False, gamma=0.0),
        lambda cancelled: RowDecoder(
            lambda ids: "".join(f"{token} " for token in ids),
            eos=[],
            stop=(),
            max_new_tokens=3,
            emit=emit,
            cancelled=cancelled,
        ),
    )


def number(item: Job) -> int:
    return int(item.prompt.inputs["input_ids"][0, 0])


class Model:
    """Answers a job with ten times its number and the next two; can be blocked and made to fail."""

    def __init__(self, fault: Callable[[list[int], int], None] = lambda batch, step: None) -> None:
        self.batches: list[list[int]] = []
        self.fault = fault
        self.free = threading.Event()
        self.free.set()
        self.entered = threading.Event()

    def __call__(self, jobs: Sequence[Job]) -> None:
        self.batches.append([number(item) for item in jobs])
        self.entered.set()
        assert self.free.wait(SECONDS)
        done: set[int] = set()
        for step in range(3):
            self.fault(self.batches[-1], step)
            for index, item in enumerate(jobs):
                if index not in done and item.decoder.put(10 * number(item) + step):
                    done.add(index)
                    item.finish(OFF)

    @contextmanager
    def held(self, service: GenerationService) -> Iterator[Job]:
        """Keep the model busy with one job, so the others wait in the queue."""
        self.free.clear()
        first = job(99)
        service.submit([first])
        assert self.entered.wait(SECONDS)
        yield first
        self.free.set()
        first.future.result(SECONDS)


def answer(of: int) -> str:
    """What a job of that number is answered."""
    return f"{10 * of} {10 * of + 1} {10 * of + 2}"


def text(item: Job) -> str:
    return item.future.result(SECONDS).text


def test_what_gathers_is_answered_together() -> None:
    model = Model()
    service = GenerationService(model, BatchPolicy(max_batch=3))
    jobs = [job(i) for i in range(5)]
    with model.held(service):
        for item in jobs:
            service.submit([item])
    assert [text(item) for item in jobs] == [answer(i) for i in range(5)]
    assert model.batches == [[99], [0, 1, 2], [3, 4]]


def test_jobs_submitted_together_are_one_batch() -> None:
    model = Model()
    service = GenerationService(model, BatchPolicy())
    jobs = [job(i) for i in range(4)]
    service.submit(jobs)
    assert [text(item) for item in jobs] == [answer(i) for i in range(4)]
    assert model.batches == [[0, 1, 2, 3]]


def test_a_request_waits_for_others_up_to_max_wait() -> None:
    model = Model()
    service = GenerationService(model, BatchPolicy(max_batch=2, max_wait=SECONDS))
    first, second = job(1), job(2)
    service.submit([first])
    service.submit([second])
    assert text(first)
    assert text(second)
    assert model.batches == [[1, 2]]


def test_a_full_queue_is_said_at_once_and_harms_nobody() -> None:
    model = Model()
    service = GenerationService(model, BatchPolicy(max_queue=2))
    jobs = [job(1), job(2)]
    with model.held(service):
        service.submit(jobs)
        with pytest.raises(Overloaded, match="the limit is 2"):
            service.submit([job(3)])
    assert [text(item) for item in jobs] == [answer(1), answer(2)]


def out_of_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_a_batch_without_memory_is_retried_one_by_one_and_streams_go_on() -> None:
    def fault(batch: list[int], step: int) -> None:
        if len(batch) > 1 and step == 2:
            out_of_memory()

    model = Model(fault)
    service = GenerationService(model, BatchPolicy())
    pieces: list[str] = []
    jobs = [job(1, emit=pieces.append), job(2)]
    service.submit(jobs)
    assert [text(item) for item in jobs] == [answer(1), answer(2)]
    assert "".join(pieces) == answer(1)
    assert model.batches == [[1, 2], [1], [2]]


@pytest.mark.parametrize("kind", ["cuda", "cpu", "python"])
def test_a_request_without_memory_alone_is_retried_once_and_then_refused(kind: str) -> None:
    def fault(batch: list[int], step: int) -> None:
        if 7 in batch:
            if kind == "python":
                raise MemoryError
            if kind == "cpu":
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried …")
            out_of_memory()

    model = Model(fault)
    service = GenerationService(model, BatchPolicy())
    jobs = [job(7), job(1)]
    service.submit(jobs)
    with pytest.raises(OutOfMemory, match="(?i)memory") as caught:
        text(jobs[0])
    assert caught.value.remedy
    # Its traceback would keep the tensors of the failed batch alive.
    assert caught.value.__cause__ is None
    assert text(jobs[1]) == answer(1)
    alone = job(7)
    service.submit([alone])
    with pytest.raises(OutOfMemory):
        text(alone)
    assert model.batches == [[7, 1], [7], [1], [7], [7]]


def test_a_fault_reaches_only_who_causes_it() -> None:
    def fault(batch: list[int], step: int) -> None:
        if 7 in batch:
            raise GuardError("NaN", stage="generation")

    model = Model(fault)
    service = GenerationService(model, BatchPolicy())
    jobs = [job(1), job(7), job(2)]
    service.submit(jobs)
    assert [text(jobs[0]), text(jobs[2])] == [answer(1), answer(2)]
    with pytest.raises(GuardError, match="NaN"):
        text(jobs[1])


@pytest.mark.parametrize("when", ["waiting", "running"])
def test_cancelling_a_future_harms_nobody(when: str) -> None:
    model = Model()
    service = GenerationService(model, BatchPolicy())
    jobs = [job(1), job(2), job(3)]
    model.free.clear()
    service.submit([job(9)])
    assert model.entered.wait(SECONDS)
    model.entered.clear()
    service.submit(jobs)
    if when == "waiting":
        assert not jobs[0].future.cancel()
        model.free.set()
    else:
        model.free.set()
        assert model.entered.wait(SECONDS)
        assert not jobs[1].future.cancel()
    assert [text(item) for item in jobs] == [answer(1), answer(2), answer(3)]
    assert model.batches == [[9], [1, 2, 3]]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a raw one"),
        AssertionError("a raw one"),
        ImportError("a raw one"),
        NotImplementedError("a raw one"),
        OSError("a raw one"),
        StopIteration("a raw one"),
        KeyError("a raw one"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_model_raises_is_a_typed_error_with_its_cause(error: Exception) -> None:
    def fault(batch: list[int], step: int) -> None:
        if 7 in batch:
            raise error

    service = GenerationService(Model(fault), BatchPolicy())
    jobs = [job(7), job(1)]
    service.submit(jobs)
    with pytest.raises(GuardError, match="a raw one") as caught:
        text(jobs[0])
    assert (caught.value.stage, caught.value.__cause__) == ("generation", error)
    assert caught.value.remedy
    assert text(jobs[1]) == answer(1)


def test_every_future_is_set_whatever_goes_wrong() -> None:
    class Strange(BaseException):
        pass

    def fault(batch: list[int], step: int) -> None:
        if 7 in batch:
            raise Strange

    service = GenerationService(Model(fault), BatchPolicy())
    bad, good = job(7), job(1)
    service.submit([bad])
    with pytest.raises(Strange):
        text(bad)
    service.submit([good])
    assert text(good) == answer(1)
    silent = GenerationService(lambda jobs: None, BatchPolicy())
    unanswered = job(1)
    silent.submit([unanswered])
    with pytest.raises(GuardError, match="without an answer"):
        text(unanswered)


def test_cancelling_what_waits_is_immediate_and_costs_the_model_nothing() -> None:
    model = Model()
    service = GenerationService(model, BatchPolicy())
    item: Any = job(5)
    with model.held(service):
        service.submit([item])
        service.cancel(item)
        reply = item.future.result(0)
    assert (reply.text, reply.finish_reason) == ("", "cancelled")
    assert "cancelled" in reply.calibration.reason
    later = job(6)
    service.submit([later])
    assert text(later)
    assert model.batches == [[99], [6]]


def test_cancelling_what_runs_ends_its_row_at_the_next_token_and_no_other() -> None:
    model = Model()
    service = GenerationService(model, BatchPolicy())
    jobs = [job(1), job(2)]
    model.free.clear()
    service.submit(jobs)
    assert model.entered.wait(SECONDS)
    service.cancel(jobs[0])
    model.free.set()
    reply = jobs[0].future.result(SECONDS)
    assert (reply.finish_reason, reply.usage.output_tokens) == ("cancelled", 1)
    assert text(jobs[1]) == answer(2)
    service.cancel(jobs[1])
    assert text(jobs[1]) == answer(2)
