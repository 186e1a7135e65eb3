"""Paired timings of calls, whose ratios hold on a machine that does other things as well."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.bench.tables import interval

Call = Callable[[], object]
Clock = Callable[[], float]
NOISE = 0.02
"""A run is void when a call differs from itself by more than this share."""


@dataclass(frozen=True)
class Comparison:
    """The time of one call relative to another.

    Attributes:
        name: of the comparison.
        ratio: median over the pairs.
        low: lower end of the 95% bootstrap interval of the median.
        high: upper end.
        added_us: median of the differences, in microseconds per call on this machine.
        pairs: number of pairs.
    """

    name: str
    ratio: float
    low: float
    high: float
    added_us: float
    pairs: int

    def __str__(self) -> str:
        return interval(self.ratio, self.low, self.high)


def compare(
    name: str,
    base: Call,
    other: Call,
    *,
    pairs: int,
    calls: int = 1,
    clock: Clock = time.process_time,
) -> Comparison:
    """Time two calls in the order ABBA.

    Args:
        name: of the comparison.
        base: A.
        other: B.
        pairs: repetitions of ABBA; at least 20 for published figures.
        calls: calls per timing; enough that the clock's resolution does not matter.
        clock: in seconds; by default the CPU time of all threads, which a busy machine disturbs
            least. On a GPU, `time.perf_counter`.
    """
    for warm_up in (base, other):
        _seconds(warm_up, calls, clock)
    times = np.empty((pairs, 2))
    for pair in times:
        first, second, third, fourth = (
            _seconds(call, calls, clock) for call in (base, other, other, base)
        )
        pair[:] = (first + fourth) / 2, (second + third) / 2
    return comparison(name, times[:, 0], times[:, 1])


def compare_in_turn(
    base: Call,
    others: Mapping[str, Call],
    *,
    pairs: int,
    clock: Clock = time.process_time,
) -> list[Comparison]:
    """Time several calls against one, in rounds of alternating direction (ABC, CBA).

    Each round is one pair for each of `others`. It takes half as long as `compare`, which matters
    for calls that take seconds.

    Args:
        base: A.
        others: the calls compared with it, by name of the comparison.
        pairs: rounds; at least 20 for published figures.
        clock: as for `compare`.
    """
    calls = [base, *others.values()]
    for warm_up in calls:
        warm_up()
    times = np.empty((pairs, len(calls)))
    for index, row in enumerate(times):
        for which in range(len(calls))[:: 1 if index % 2 == 0 else -1]:
            row[which] = _seconds(calls[which], 1, clock)
    return [
        comparison(name, times[:, 0], times[:, column])
        for column, name in enumerate(others, start=1)
    ]


def is_noisy(ratio: float) -> bool:
    """Whether the ratio of a call to itself voids the run."""
    return abs(ratio - 1.0) > NOISE


def comparison(name: str, base: NDArray[np.float64], other: NDArray[np.float64]) -> Comparison:
    """The comparison from paired times `[pairs]`."""
    ratios = other / base
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, (4000, len(ratios))), axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    added = float(np.median(other - base)) * 1e6
    return Comparison(name, float(np.median(ratios)), float(low), float(high), added, len(ratios))


def _seconds(call: Call, calls: int, clock: Clock) -> float:
    """Mean seconds per call."""
    start = clock()
    for _ in range(calls):
        call()
    return (clock() - start) / calls
