"""On a device that gains by batches, concurrent callers share encoder passes, and no verdict."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from guardalign_middleware import GuardAlign, GuardError, ImageGuard, Overloaded
from guardalign_middleware.detection import Detector
from guardalign_middleware.mini.clutter import draw_cluttered_scene
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS
from guardalign_middleware.scan_threads import in_scan_thread
from guardalign_middleware.serving import create_app
from guardalign_middleware.testing import EchoRunner, data_url
from guardalign_middleware.types import CanonicalImage
from tests.support.gated import LONG, DeviceEncoder, device_guard, gated_guard, numbered, until

CALLERS = 16
NUMBERS = list(range(100, 100 + CALLERS))
FEWER = 6
"""How many times fewer passes 16 callers take together than one after the other."""


def pictures() -> list[CanonicalImage]:
    return [numbered(number, red=number % 2 == 0) for number in NUMBERS]


def together(
    guard: ImageGuard, encoder: DeviceEncoder, calls: list[Callable[[], Any]]
) -> list[Any]:
    """The results of calls that all wait while the first one scans."""
    with ThreadPoolExecutor(len(calls)) as pool:
        futures: list[Future[Any]] = []
        for index, call in enumerate(calls):
            futures.append(pool.submit(call))
            encoder.wait_for_scans(1)
            until(lambda index=index: len(guard.detector.queue) == index)  # type: ignore[misc]
        encoder.let_pass(10_000)
        return [future.exception(LONG) or future.result(LONG) for future in futures]


@pytest.mark.parametrize("way", ["scan", "sanitize"])
def test_sixteen_callers_take_six_times_fewer_passes_and_get_the_same(way: str) -> None:
    alone, one_by_one = device_guard()
    one_by_one.let_pass(10_000)
    guard, encoder = device_guard()
    images = pictures()
    expected = [getattr(alone, way)(image) for image in images]
    found = together(
        guard, encoder, [lambda image=image: getattr(guard, way)(image) for image in images]
    )
    assert len(one_by_one.passes) >= FEWER * len(encoder.passes)
    assert encoder.passes[0] == NUMBERS[:1]
    assert NUMBERS[1:] in encoder.passes
    for one, other in zip(found, expected, strict=True):
        # Bit for bit: evidence, boxes and distances.
        verdicts = (one, other) if way == "scan" else (one.verdict, other.verdict)
        assert verdicts[0] == verdicts[1]
        if way == "sanitize":
            assert one.image.sha256 == other.image.sha256
            assert one.passed == other.passed


async def test_sixteen_requests_to_the_server_take_six_times_fewer_passes() -> None:
    guard, encoder = device_guard()
    transport = httpx.ASGITransport(app=create_app(GuardAlign(guard, EchoRunner())))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:

        async def ask(image: CanonicalImage) -> str:
            url = {"type": "image_url", "image_url": {"url": data_url(image)}}
            body = {"model": "red", "messages": [{"role": "user", "content": [url]}]}
            answer = await client.post("/v1/chat/completions", json=body)
            assert answer.status_code == 200
            decision: str = answer.json()["guardalign"]["decision"]
            return decision

        tasks = [asyncio.create_task(ask(image)) for image in pictures()]
        await in_scan_thread(until, lambda: len(guard.detector.queue) == CALLERS - 1)
        encoder.let_pass(10_000)
        decisions = await asyncio.gather(*tasks)
    assert decisions == ["mask", "allow"] * (CALLERS // 2)
    # Alone, every picture takes a pass, and every masked copy another one.
    assert CALLERS + CALLERS // 2 >= FEWER * len(encoder.passes)


def test_a_turn_holds_as_many_callers_in_order_as_fit_into_one_pass() -> None:
    guard, encoder = device_guard()
    crops = guard.detector.crops_of([numbered(100)])
    assert crops is not None
    guard.detector.queue._shared_crops = 3 * crops + 1
    together(guard, encoder, [lambda n=n: guard.scan(numbered(n)) for n in range(100, 108)])
    assert encoder.passes == [[100], [101, 102, 103], [104, 105, 106], [107]]


def test_a_large_caller_is_not_passed_by_smaller_ones() -> None:
    guard, encoder = device_guard()
    crops = guard.detector.crops_of([numbered(100)])
    assert crops is not None
    guard.detector.queue._shared_crops = 2 * crops
    large = [numbered(number) for number in (102, 103)]
    calls = [
        lambda: guard.scan(numbered(100)),
        lambda: guard.scan(numbered(101)),
        lambda: guard.scan_many(large),
        lambda: guard.scan(numbered(104)),
    ]
    together(guard, encoder, list(calls))
    assert encoder.passes == [[100], [101], [102, 103], [104]]


@pytest.mark.parametrize("ways", [("scan", "scan"), ("sanitize", "scan"), ("scan", "sanitize")])
def test_equal_pictures_are_scanned_once(ways: tuple[str, str]) -> None:
    guard, encoder = device_guard()
    same = numbered(101)
    calls: list[Callable[[], Any]] = [lambda: guard.scan(numbered(100))]
    calls += [lambda way=way: getattr(guard, way)(same) for way in ways]  # type: ignore[misc]
    calls += [lambda: guard.scan(numbered(102))]
    together(guard, encoder, calls)
    assert encoder.passes == [[100], [101, 102]]


def test_a_fault_in_a_shared_pass_reaches_only_its_caller() -> None:
    guard, encoder = device_guard()
    whole = DeviceEncoder.encode_images

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        rows = whole(encoder, pixels)
        if 102 in encoder.passes[-1]:
            raise ValueError("no number")
        return rows

    encoder.encode_images = encode  # type: ignore[method-assign]
    images = [numbered(number, red=number == 103) for number in range(100, 105)]
    found = together(
        guard, encoder, [lambda image=image: guard.sanitize(image) for image in images]
    )
    assert isinstance(found[2], GuardError)
    decisions = [item.verdict.decision for item in (*found[:2], *found[3:])]
    assert decisions == ["allow", "allow", "mask", "allow"]
    assert len(guard.detector.queue) == 0
    guard.scan(numbered(105))  # the turn is free again


async def test_a_cancelled_caller_is_not_waited_for() -> None:
    guard, encoder = device_guard()
    tasks = []
    for index, number in enumerate(range(100, 104)):
        tasks.append(asyncio.create_task(in_scan_thread(guard.sanitize, numbered(number))))
        await asyncio.to_thread(encoder.wait_for_scans, 1)
        await asyncio.to_thread(until, lambda index=index: len(guard.detector.queue) == index)  # type: ignore[misc]
    tasks[2].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[2]
    encoder.let_pass(10)
    await asyncio.gather(tasks[0], tasks[1], tasks[3])
    assert encoder.passes == [[100], [101, 103]]


@pytest.mark.parametrize("way", ["scan", "sanitize"])
@pytest.mark.parametrize("on_fault", ["raise", "allow"])
def test_a_full_queue_refuses_and_lets_nothing_through(way: str, on_fault: str) -> None:
    guard, encoder = gated_guard(on_fault=on_fault)
    guard.detector.queue._max_waiting = 1
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(guard.scan, numbered(100))
        encoder.wait_for_scans(1)
        second = pool.submit(guard.scan, numbered(101))
        until(lambda: len(guard.detector.queue) == 1)
        with pytest.raises(Overloaded, match="detection.max_queue") as caught:
            getattr(guard, way)(numbered(102))
        assert caught.value.stage == "detection"
        encoder.let_pass(10)
        first.result(LONG)
        second.result(LONG)
    assert guard.failed_open == 0
    encoder.let_pass(10)
    getattr(guard, way)(numbered(102))


def test_the_limit_is_that_of_the_config() -> None:
    config = gated_guard()[0].config.detection.model_copy(update={"max_queue": 7})
    assert gated_guard(detection=config)[0].detector.queue._max_waiting == 7


@pytest.fixture(scope="module")
def mini() -> ImageGuard:
    return ImageGuard.from_preset("mini")


def test_a_cpu_does_not_hold_up_the_first_caller(mini: ImageGuard) -> None:
    assert not mini.detector.queue.shares
    assert mini.detector.crops_of([numbered(100)]) is None


def test_the_miniature_decides_the_same_in_shared_passes(mini: ImageGuard) -> None:
    own = mini.detector
    sharing = ImageGuard(mini.config, Detector(own.meters, own.config, own.profile))
    sharing.detector.queue._shared_crops = 4096
    images = [scene(number) for number in range(2)]
    expected = [mini.scan(image) for image in images]
    gate, begun = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        gate.wait(LONG)

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(sharing.detector.queue.run, hold)
        assert begun.wait(LONG)
        found = [pool.submit(sharing.scan, image) for image in images]
        until(lambda: len(sharing.detector.queue) == 2)
        gate.set()
        first.result(LONG)
        verdicts = [each.result(LONG) for each in found]
    assert [each.decision for each in verdicts] == [each.decision for each in expected]
    assert {each.decision for each in verdicts} == {"allow", "mask"}
    for one, other in zip(verdicts, expected, strict=True):
        # Products of matrices round differently in larger batches, far below what decides.
        assert [each.box for each in one.regions] == [each.box for each in other.regions]
        difference = abs(one.evidence.patch_distances - other.evidence.patch_distances).max()
        assert difference < 1e-5 < abs(one.distance - one.threshold)


def scene(number: int) -> CanonicalImage:
    rng = np.random.default_rng((17, number))
    drawn = draw_cluttered_scene(rng, unsafe=number % 2 == 0, backgrounds=HELD_OUT_BACKGROUNDS)
    return CanonicalImage(drawn.pixels)
