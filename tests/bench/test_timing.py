"""Paired timings find the slower call, and ignore a steady drift."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from guardalign_middleware.bench.timing import compare, compare_in_turn, is_noisy


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


@pytest.mark.parametrize(
    ("ratio", "noisy"), [(1.0, False), (1.015, False), (1.03, True), (0.97, True)]
)
def test_a_call_that_differs_from_itself_is_noisy(ratio: float, noisy: bool) -> None:
    assert is_noisy(ratio) == noisy
