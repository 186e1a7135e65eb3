"""Rates with their 95% intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

_RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A measured figure with its 95% interval and sample size."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def rate(hits: int, n: int) -> Estimate:
    """A proportion with its Wilson interval.

    Raises:
        ValueError: `n` is not positive, or `hits` is outside 0..n.
    """
    if n <= 0 or not 0 <= hits <= n:
        raise ValueError(f"hits should be in 0..n and n > 0. Received hits={hits}, n={n}.")
    interval = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    return Estimate(hits / n, float(interval.low), float(interval.high), n)


def mean_without_spread(value: float, n: int) -> Estimate:
    """The mean of values from 0 to 1 that are all equal, of which no resample differs.

    A bootstrap would give an interval without width. This is the exact (Clopper-Pearson) interval
    of a rate, since no values from 0 to 1 with this mean spread more than zeros and ones.

    Args:
        value: of each of them, or of the figure that has no other value in any resample.
        n: how many there are.
    """
    hits = value * n
    low = float(stats.beta.ppf(0.025, hits, n - hits + 1)) if hits > 0 else 0.0
    high = float(stats.beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0
    return Estimate(value, low, high, n)


def pooled_rate(hits: Sequence[int], totals: Sequence[int]) -> Estimate:
    """The rate of parts that come in groups, as the words of pictures do: Σ hits / Σ totals.

    The parts of a group share its fate, so its interval is a percentile bootstrap of the groups.
    Where every part is hit, or none, resamples do not differ: the interval is then Wilson's of as
    many trials as there are groups.

    Args:
        hits: of each group.
        totals: the parts of each group.

    Raises:
        ValueError: there are no parts, the groups differ, or a group has more hits than parts.
    """
    groups = [(hit, total) for hit, total in zip(hits, totals, strict=True) if hit or total]
    if not groups or any(not 0 <= hit <= total for hit, total in groups):
        raise ValueError("hits should be in 0..totals of their group, and some total > 0.")
    rows = np.array(groups, dtype=np.int64)
    hit, total = (int(value) for value in rows.sum(0))
    if hit in (0, total):
        edge = rate(len(groups) if hit else 0, len(groups))
        return Estimate(hit / total, edge.low, edge.high, total)
    picks = np.random.default_rng(0).integers(0, len(groups), (_RESAMPLES, len(groups)))
    shares = rows[:, 0][picks].sum(1) / rows[:, 1][picks].sum(1)
    low, high = np.percentile(shares, (2.5, 97.5))
    return Estimate(hit / total, float(low), float(high), total)
