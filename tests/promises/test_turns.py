"""Concurrent callers are served first come, first served, and equal pictures are scanned once."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from guardalign_middleware import GuardAlign, GuardError, ImageGuard
from guardalign_middleware.conversation import CHAT, ConversationGuard, Handling
from guardalign_middleware.scan_threads import in_scan_thread
from guardalign_middleware.testing import EchoRunner, data_url, png, red_config, red_detector
from guardalign_middleware.types import CanonicalImage
from tests.support.gated import LONG, GatedEncoder, gated_guard, numbered, until

CALLERS = 16
NUMBERS = list(range(100, 100 + CALLERS))


def waiting(guard: ImageGuard) -> int:
    return len(guard.detector.queue)


def enqueue(
    pool: ThreadPoolExecutor,
    guard: ImageGuard,
    calls: list[Callable[[], object]],
    encoder: GatedEncoder,
) -> list[Future[object]]:
    """Start calls one after another, each when the one before scans or waits."""
    futures = []
    for index, call in enumerate(calls):
        futures.append(pool.submit(call))
        encoder.wait_for_scans(1)
        until(lambda index=index: waiting(guard) == index)  # type: ignore[misc]
    return futures


@pytest.mark.parametrize("way", ["scan", "sanitize"])
def test_the_first_caller_waits_for_its_own_scan_only(way: str) -> None:
    guard, encoder = gated_guard()
    call = getattr(guard, way)
    images = [numbered(number) for number in NUMBERS]
    with ThreadPoolExecutor(CALLERS) as pool:
        calls = [lambda image=image: call(image) for image in images]
        futures = enqueue(pool, guard, calls, encoder)
        encoder.let_pass()
        futures[0].result(LONG)
        assert not any(future.done() for future in futures[1:])
        encoder.let_pass(CALLERS)
        for future in futures:
            future.result(LONG)
    assert encoder.scanned == NUMBERS


async def test_the_first_stream_starts_after_one_scan() -> None:
    # A single thread: were a scan waiting in it, the first stream could not start.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    guard, encoder = gated_guard()
    chain = GuardAlign(guard, EchoRunner())

    async def first_chunk(number: int) -> int:
        content = [{"type": "image", "image": png(numbered(number))}, {"type": "text", "text": "?"}]
        stream = chain.astream([{"role": "user", "content": content}])
        assert (await anext(stream)).text
        await stream.aclose()
        return number

    tasks = [asyncio.create_task(first_chunk(number)) for number in NUMBERS]
    await in_scan_thread(until, lambda: waiting(guard) == CALLERS - 1)
    encoder.let_pass()
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in done] == encoder.scanned[:1]
    assert waiting(guard) == CALLERS - 2
    encoder.let_pass(CALLERS)
    assert await asyncio.gather(*tasks) == NUMBERS
    assert sorted(encoder.scanned) == NUMBERS


def test_masked_copies_are_scanned_within_the_turn() -> None:
    guard, encoder = gated_guard()
    with ThreadPoolExecutor(2) as pool:
        calls = [lambda: guard.sanitize(numbered(100, red=True)), lambda: guard.scan(numbered(101))]
        flagged, other = enqueue(pool, guard, list(calls), encoder)
        encoder.let_pass(10)
        assert flagged.result(LONG).rounds == 1  # type: ignore[attr-defined]
        other.result(LONG)
    assert encoder.scanned == [100, 100, 101]


@pytest.mark.parametrize("way", ["scan_many", "sanitize_many"])
def test_a_caller_with_many_images_lets_others_between(way: str) -> None:
    guard, encoder = gated_guard()
    many = [numbered(number) for number in range(100, 105)]
    with ThreadPoolExecutor(3) as pool:
        calls = [
            lambda: getattr(guard, way)(many),
            lambda: guard.scan(numbered(200)),
            lambda: guard.scan(numbered(201)),
        ]
        futures = enqueue(pool, guard, list(calls), encoder)
        encoder.let_pass(10)
        for future in futures:
            future.result(LONG)
    assert encoder.scanned == [100, 200, 201, 101, 102, 103, 104]


@pytest.mark.parametrize("remembered", [0, 64])
@pytest.mark.parametrize("way", ["scan", "sanitize"])
def test_an_equal_picture_is_waited_for_and_not_scanned_twice(way: str, remembered: int) -> None:
    detection = red_config().detection.model_copy(update={"remembered_verdicts": remembered})
    guard, encoder = gated_guard(detection=detection)
    image, other = numbered(100, red=True), numbered(101)
    call = getattr(guard, way)
    with ThreadPoolExecutor(8) as pool:
        equal = [CanonicalImage(image.pixels, f"{k}.png") for k in range(6)]
        asked = [equal[0], other, *equal[1:]]
        calls = [lambda image=image: call(image) for image in asked]
        futures = enqueue(pool, guard, calls, encoder)
        encoder.let_pass(1 if way == "scan" else 2)
        results = [future.result(LONG) for future in (futures[0], *futures[2:])]
        assert not futures[1].done()  # those behind it need not wait for it
        encoder.let_pass()
        futures[1].result(LONG)
    assert encoder.scanned == [100, 101] if way == "scan" else [100, 100, 101]
    verdicts = results if way == "scan" else [item.verdict for item in results]  # type: ignore[attr-defined]
    assert [verdict.source for verdict in verdicts] == [image.source for image in equal]  # type: ignore[attr-defined]


@pytest.mark.parametrize("way", ["scan", "sanitize"])
def test_a_fault_reaches_only_its_caller(way: str) -> None:
    guard, encoder = gated_guard()
    encoder.fail = [100]
    call = getattr(guard, way)
    with ThreadPoolExecutor(4) as pool:
        calls = [lambda number=number: call(numbered(number)) for number in (100, 101, 100, 102)]
        futures = enqueue(pool, guard, calls, encoder)
        encoder.let_pass(10)
        with pytest.raises(GuardError):
            futures[0].result(LONG)
        for future in futures[1:]:
            future.result(LONG)
    assert encoder.scanned == [100, 101, 100, 102]  # the equal picture kept its place
    assert waiting(guard) == 0


def test_a_picture_that_was_let_through_unscanned_is_not_remembered() -> None:
    guard, encoder = gated_guard(on_fault="allow")
    encoder.fail = [100] * 4  # each caller tries twice
    encoder.let_pass(100)
    image = numbered(100)
    assert [guard.sanitize(image).verdict.fault is None, guard.scan(image).fault is None] == [
        False,
        False,
    ]
    assert guard.sanitize(image).verdict.fault is None
    assert guard.failed_open == 2


def test_waiting_callers_do_not_share_a_picture_that_was_let_through() -> None:
    guard, encoder = gated_guard(on_fault="allow")
    encoder.fail = [100, 100]
    with ThreadPoolExecutor(2) as pool:
        calls = [lambda: guard.sanitize(numbered(100)) for _ in range(2)]
        first, second = enqueue(pool, guard, list(calls), encoder)
        encoder.let_pass(10)
        assert first.result(LONG).verdict.fault is not None  # type: ignore[attr-defined]
        assert second.result(LONG).verdict.fault is None  # type: ignore[attr-defined]
    assert guard.failed_open == 1


async def test_a_cancelled_caller_gives_up_its_turn() -> None:
    guard, encoder = gated_guard()
    chain = GuardAlign(guard, runner := EchoRunner())
    tasks = []
    for index, number in enumerate((100, 101, 102)):
        content = [{"type": "image", "image": png(numbered(number))}]
        task = asyncio.create_task(chain.ainvoke([{"role": "user", "content": content}]))
        tasks.append(task)
        await asyncio.to_thread(encoder.wait_for_scans, 1)
        await asyncio.to_thread(until, lambda index=index: waiting(guard) == index)  # type: ignore[misc]
    tasks[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
    assert waiting(guard) == 1
    encoder.let_pass(10)
    await asyncio.gather(tasks[0], tasks[2])
    assert encoder.scanned == [100, 102]
    assert len(runner.calls) == 2


async def test_a_cancelled_caller_scans_none_of_its_other_images() -> None:
    guard, encoder = gated_guard()
    images = [numbered(number) for number in (100, 101, 102)]
    ended = threading.Event()

    def call() -> None:
        try:
            guard.sanitize_many(images)
        finally:
            ended.set()

    task = asyncio.create_task(in_scan_thread(call))
    await asyncio.to_thread(encoder.wait_for_scans, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    encoder.let_pass(10)
    await asyncio.to_thread(ended.wait, LONG)
    assert encoder.scanned == [100]
    guard.scan(numbered(103))  # the turn is free again


async def test_a_conversation_waits_for_its_own_picture_only() -> None:
    guard, encoder = gated_guard()
    conversations = ConversationGuard(guard, Handling())

    def shown(*numbers: int) -> dict[str, object]:
        content = [
            {"type": "image_url", "image_url": {"url": data_url(numbered(number))}}
            for number in numbers
        ]
        return {"model": "m", "messages": [{"role": "user", "content": content}]}

    both = asyncio.create_task(conversations.aclean(shown(100, 101), CHAT))
    await asyncio.to_thread(encoder.wait_for_scans, 1)
    one = asyncio.create_task(conversations.aclean(shown(100), CHAT))
    left = asyncio.create_task(conversations.aclean(shown(102), CHAT))
    await asyncio.to_thread(until, lambda: waiting(guard) == 2)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    encoder.let_pass(1)
    assert [each.decision for each in (await one).verdicts] == ["allow"]
    assert not both.done()
    encoder.let_pass(1)
    assert len((await both).verdicts) == 2
    assert encoder.scanned == [100, 101]


def test_an_interrupted_caller_leaves_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    guard, encoder = gated_guard()
    with ThreadPoolExecutor(1) as pool:
        (first,) = enqueue(pool, guard, [lambda: guard.scan(numbered(100))], encoder)

        def interrupt(*_: object) -> bool:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(threading.Event, "wait", interrupt)
            with pytest.raises(KeyboardInterrupt):
                guard.scan(numbered(101))
        assert waiting(guard) == 0
        encoder.let_pass(10)
        first.result(LONG)
    assert encoder.scanned == [100]


@pytest.mark.parametrize("on_fault", ["raise", "allow"])
def test_a_fork_of_a_used_detector_is_refused(
    on_fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = red_config(on_fault=on_fault)
    detector = red_detector(config)
    detector.scan(numbered(100))
    unused = ImageGuard(config, detector)
    here = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: here + 1)
    for call in (detector.scan, detector.distances, unused.scan, unused.sanitize):
        with pytest.raises(GuardError, match="forked") as caught:
            call(numbered(100))
        assert caught.value.stage == "process"
    assert unused.failed_open == 0
