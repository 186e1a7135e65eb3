"""Two calls timed against each other: the clock of the benchmarks that publish ratios."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Call = Callable[[], object]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Comparison:
    """The time of one call beside that of another.

    Attributes:
        name: what was compared with what.
        ratio: median over the pairs.
        low: lower end of the 95% bootstrap interval of the median.
        high: upper end.
        added_us: median of the differences, in microseconds a call on this machine.
        pairs: how many pairs.
    """

    name: str
    ratio: float
    low: float
    high: float
    added_us: float
    pairs: int


def compare(
    name: str,
    base: Call,
    other: Call,
    *,
    pairs: int,
    calls: int = 1,
    clock: Clock = time.process_time,
) -> Comparison:
    """Time both in the order ABBA, `pairs` times, each time over `calls` calls.

    Args:
        name: for the report.
        base: A.
        other: B.
        pairs: at least 20.
        calls: in one timing; so many that the clock's step does not matter.
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
    ratios = times[:, 1] / times[:, 0]
    low, high = _interval(ratios)
    added = float(np.median(times[:, 1] - times[:, 0])) * 1e6
    return Comparison(name, float(np.median(ratios)), low, high, added, pairs)


def compare_in_turn(
    base: Call,
    others: Mapping[str, Call],
    *,
    pairs: int,
    clock: Clock = time.process_time,
) -> list[Comparison]:
    """Time several calls against one, in rounds that go forth and back: ABC, CBA, and so on.

    A round is one pair for each of `others`; two rounds are ABBA. It costs half of what `compare`
    does, which is what calls of seconds need.

    Args:
        base: A.
        others: what is compared with it, by name.
        pairs: rounds; at least 20.
        clock: as for `compare`.
    """
    calls = [base, *others.values()]
    for warm_up in calls:
        warm_up()
    times = np.empty((pairs, len(calls)))
    for index, row in enumerate(times):
        for which in range(len(calls))[:: 1 if index % 2 == 0 else -1]:
            row[which] = _seconds(calls[which], 1, clock)
    found = []
    for column, name in enumerate(others, start=1):
        ratios = times[:, column] / times[:, 0]
        low, high = _interval(ratios)
        added = float(np.median(times[:, column] - times[:, 0])) * 1e6
        found.append(Comparison(name, float(np.median(ratios)), low, high, added, pairs))
    return found


def decodings(call: Call) -> int:
    """How often a call reads a PNG, whoever in the process does it."""
    reader, accept = Image.OPEN["PNG"]
    counting = mock.Mock(side_effect=reader)
    with mock.patch.dict(Image.OPEN, {"PNG": (counting, accept)}):
        call()
    return counting.call_count


def processor() -> str:
    """The processor's name where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


def _seconds(call: Call, calls: int, clock: Clock) -> float:
    """Seconds of one call."""
    start = clock()
    for _ in range(calls):
        call()
    return (clock() - start) / calls


def _interval(values: NDArray[np.float64], draws: int = 4000) -> tuple[float, float]:
    """95% bootstrap interval of the median."""
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(values, (draws, len(values))), axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(low), float(high)
