"""Paired timings tell apart what costs more, and decodings are counted."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from benchmarks.statistics import compare, compare_in_turn, decodings


class Watch:
    """A clock that moves only while something works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float) -> Callable[[], object]:
        def call() -> None:
            self.now += seconds

        return call


def test_twice_the_work_is_twice_the_time() -> None:
    watch = Watch()
    base, other = watch.work(0.25), watch.work(0.5)
    found = compare("b ÷ a", base, other, pairs=20, calls=3, clock=watch)
    assert (found.low, found.ratio, found.high) == pytest.approx((2.0, 2.0, 2.0))
    assert found.added_us == pytest.approx(250_000)
    assert found.pairs == 20


def test_a_machine_that_slows_down_steadily_disturbs_no_ratio() -> None:
    watch = Watch()
    calls = iter(range(1_000))

    def work() -> None:
        watch.now += 1.0 + 0.01 * next(calls)

    assert compare("a ÷ a", work, work, pairs=20, clock=watch).ratio == pytest.approx(1.0)


def test_several_calls_go_forth_and_back() -> None:
    watch, order = Watch(), []

    def work(name: str, seconds: float) -> Callable[[], object]:
        def call() -> None:
            order.append(name)
            watch.now += seconds

        return call

    others = {"b ÷ a": work("b", 2.0), "c ÷ a": work("c", 3.0)}
    found = compare_in_turn(work("a", 1.0), others, pairs=3, clock=watch)
    # Once each before anything is timed, then in rounds.
    assert "".join(order) == "abc" + "abc" + "cba" + "abc"
    assert [(one.name, one.ratio, one.pairs) for one in found] == [
        ("b ÷ a", pytest.approx(2.0), 3),
        ("c ÷ a", pytest.approx(3.0), 3),
    ]
    assert found[1].added_us == pytest.approx(2e6)


def test_the_time_is_that_of_the_processor_by_default() -> None:
    found = compare("work ÷ sleep", lambda: time.sleep(0.01), lambda: sum(range(50_000)), pairs=3)
    assert found.ratio > 1.0


def test_decodings_are_counted_however_the_file_is_opened() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(buffer, "PNG")
    data = buffer.getvalue()
    Image.open(io.BytesIO(data)).close()  # the reader is registered on first use
    assert decodings(lambda: None) == 0
    assert decodings(lambda: [Image.open(io.BytesIO(data)).load() for _ in range(3)]) == 3
