"""Timing Ray against the process pool: which results count, and how the rates are reported."""

from collections.abc import Iterator

import pytest

from benchmarks.bulk import ray
from guardalign_middleware.bench.timing import Comparison
from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.job import Outcome

_MARGIN = 32  # a block of 16 for each of two guards


class _Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


def _outcomes(clock: _Clock, seconds: list[float]) -> Iterator[Outcome]:
    for step in seconds:
        clock.now += step
        yield Outcome("a.png", ())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    stepped = _Clock()
    monkeypatch.setattr(ray, "time", stepped)
    return stepped


def test_the_margins_do_not_count(clock: _Clock) -> None:
    steps = [9.0] * _MARGIN + [0.5] * 2 * _MARGIN + [7.0] * _MARGIN
    assert ray.steady_seconds(_outcomes(clock, steps), 4 * _MARGIN) == pytest.approx(0.5)


def test_each_result_between_the_margins_counts(clock: _Clock) -> None:
    steps = [0.5] * 3 * _MARGIN
    steps[_MARGIN] += 32.0
    steps[2 * _MARGIN - 1] += 32.0
    assert ray.steady_seconds(_outcomes(clock, steps), 3 * _MARGIN) == pytest.approx(2.5)


def test_a_picture_that_is_missing_is_no_result(clock: _Clock) -> None:
    with pytest.raises(RuntimeError, match="95 of 96"):
        ray.steady_seconds(_outcomes(clock, [1.0] * 95), 96)


def test_a_picture_with_an_error_is_no_result() -> None:
    with pytest.raises(RuntimeError, match="unreadable"):
        ray.steady_seconds(iter([Outcome.of_error(Entry("a.png", "a.png"), "unreadable")]), 96)


@pytest.mark.parametrize("pictures", [0, 64, 100])
def test_blocks_are_whole(pictures: int) -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        ray.measure(1, pictures)


def test_half_the_time_is_twice_the_rate() -> None:
    told = ray.ray_table([Comparison("Ray ÷ process pool", 0.5, 0.4, 0.8, 0.0, 3)], 96)
    assert told["rows"] == [["Ray ÷ process pool", "2.00 (1.25–2.50)"]]
