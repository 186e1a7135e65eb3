"""Rates with their 95% intervals."""

from __future__ import annotations

from dataclasses import dataclass

from scipy import stats


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
