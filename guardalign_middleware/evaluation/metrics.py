"""Rates and rankings with their 95% intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A measured figure with a 95% interval and the sample size behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def rate(hits: int, n: int) -> Estimate:
    """A proportion with its Wilson interval.

    Raises:
        ValueError: `n` is not positive or `hits` lies outside 0..n.
    """
    if n <= 0 or not 0 <= hits <= n:
        raise ValueError(f"hits should be in 0..n and n > 0. Received hits={hits}, n={n}.")
    interval = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    return Estimate(hits / n, float(interval.low), float(interval.high), n)


def _auroc(unsafe: NDArray[np.float64], safe: NDArray[np.float64]) -> float:
    """P(unsafe distance < safe distance) + ½ P(equal)."""
    wins = stats.mannwhitneyu(safe, unsafe, alternative="two-sided").statistic
    return float(wins / (len(safe) * len(unsafe)))


def auroc(unsafe: ArrayLike, safe: ArrayLike, *, resamples: int = 1000, seed: int = 0) -> Estimate:
    """Area under the ROC curve of distances (low = unsafe), with a bootstrap interval.

    Args:
        unsafe: distances of unsafe images, `[n]`.
        safe: distances of safe images, `[m]`.
        resamples: bootstrap resamples, both groups redrawn.
        seed: of the bootstrap.

    Raises:
        ValueError: a group is empty or holds a NaN.
    """
    first, second = _checked(unsafe, "unsafe"), _checked(safe, "safe")
    rng = np.random.default_rng(seed)
    drawn = [
        _auroc(rng.choice(first, len(first)), rng.choice(second, len(second)))
        for _ in range(resamples)
    ]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Estimate(_auroc(first, second), float(low), float(high), len(first) + len(second))


def detected_at_false_alarm(unsafe: ArrayLike, safe: ArrayLike, false_alarm: float) -> Estimate:
    """Share of unsafe images detected when at most `false_alarm` of the safe ones are.

    The threshold comes from the same safe distances, so this ranks detectors; what a stored
    profile reaches on fresh images is a different and harder question.
    """
    first, second = _checked(unsafe, "unsafe"), np.sort(_checked(safe, "safe"))
    allowed = int(np.floor(false_alarm * len(second)))
    threshold = second[allowed] if allowed < len(second) else np.inf
    return rate(int((first < threshold).sum()), len(first))


def _checked(values: ArrayLike, name: str) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or np.isnan(array).any():
        raise ValueError(f"{name} should be a non-empty row of numbers without NaN.")
    return array
