"""How well distances rank unsafe before safe: three figures, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guardalign_middleware.evaluation.metrics import Estimate

Row = NDArray[np.float64]
FIGURES = ("AUROC", "AUPRC", "detected at 1%", "detected at 5%")


def threshold_at(safe: ArrayLike, false_alarm: float) -> float:
    """The largest threshold at which at most this share of the given safe distances is flagged."""
    ordered = np.sort(np.asarray(safe, dtype=np.float64))
    allowed = int(np.floor(false_alarm * len(ordered) + 1e-9))
    return float(np.nextafter(ordered[allowed], -np.inf)) if allowed < len(ordered) else np.inf


def average_precision(unsafe: ArrayLike, safe: ArrayLike) -> float:
    """Area under the precision-recall curve as Σ (R_k − R_{k−1}) P_k; equal distances count once.

    Unlike AUROC it depends on how many of each kind there are: chance is the share of unsafe ones.
    """
    first, second = np.sort(np.asarray(unsafe)), np.sort(np.asarray(safe))
    levels = np.unique(first)
    hits = np.searchsorted(first, levels, side="right")
    alarms = np.searchsorted(second, levels, side="right")
    gained = np.diff(hits, prepend=0) / len(first)
    return float((gained * hits / (hits + alarms)).sum())


def ranking_figures(unsafe: ArrayLike, safe: ArrayLike) -> dict[str, float]:
    """`FIGURES` of one sample: distances (low = unsafe) of unsafe `[n]` and safe `[m]` images."""
    first = np.asarray(unsafe, dtype=np.float64)
    second = np.sort(np.asarray(safe, dtype=np.float64))
    below = np.searchsorted(second, first, side="left")
    ties = np.searchsorted(second, first, side="right") - below
    return {
        "AUROC": float(1.0 - (below + 0.5 * ties).mean() / len(second)),
        "AUPRC": average_precision(first, second),
        "detected at 1%": float((first <= threshold_at(second, 0.01)).mean()),
        "detected at 5%": float((first <= threshold_at(second, 0.05)).mean()),
    }


def estimated(
    unsafe: ArrayLike, safe: ArrayLike, *, resamples: int = 400, seed: int = 0
) -> dict[str, Estimate]:
    """`ranking_figures` with percentile intervals; both groups, so the threshold too, are redrawn.

    Raises:
        ValueError: a group is empty or holds a NaN.
    """
    first, second = _checked(unsafe), _checked(safe)
    rng = np.random.default_rng(seed)
    drawn = [
        ranking_figures(rng.choice(first, len(first)), rng.choice(second, len(second)))
        for _ in range(resamples)
    ]
    n = len(first) + len(second)
    return {
        name: _interval(value, [one[name] for one in drawn], n)
        for name, value in ranking_figures(first, second).items()
    }


def compared(
    first: tuple[ArrayLike, ArrayLike],
    second: tuple[ArrayLike, ArrayLike],
    *,
    resamples: int = 400,
    seed: int = 0,
) -> dict[str, Estimate]:
    """`ranking_figures` of `first` minus those of `second`, both measured on the same images.

    Args:
        first: distances of the unsafe and of the safe images by one reading.
        second: by another reading, in the same order.
        resamples: redraws of the images; each takes both readings along.
        seed: of the redraws.

    Raises:
        ValueError: the readings are not about equally many images, or one holds a NaN.
    """
    (unsafe, safe), (other_unsafe, other_safe) = (
        tuple(_checked(group) for group in pair) for pair in (first, second)
    )
    if (len(unsafe), len(safe)) != (len(other_unsafe), len(other_safe)):
        raise ValueError("Both readings should be about the same images.")
    rng = np.random.default_rng(seed)

    def difference(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Mapping[str, float]:
        one = ranking_figures(unsafe[rows], safe[columns])
        other = ranking_figures(other_unsafe[rows], other_safe[columns])
        return {name: one[name] - other[name] for name in one}

    drawn = [
        difference(
            rng.integers(len(unsafe), size=len(unsafe)), rng.integers(len(safe), size=len(safe))
        )
        for _ in range(resamples)
    ]
    n = len(unsafe) + len(safe)
    measured = difference(np.arange(len(unsafe)), np.arange(len(safe)))
    return {
        name: _interval(value, [one[name] for one in drawn], n) for name, value in measured.items()
    }


def mean(values: ArrayLike, *, resamples: int = 400, seed: int = 0) -> Estimate:
    """A mean with its bootstrap interval."""
    row = _checked(values)
    rng = np.random.default_rng(seed)
    drawn = [float(rng.choice(row, len(row)).mean()) for _ in range(resamples)]
    return _interval(float(row.mean()), drawn, len(row))


def _interval(value: float, drawn: list[float], n: int) -> Estimate:
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Estimate(value, float(low), float(high), n)


def _checked(values: ArrayLike) -> Row:
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1 or row.size == 0 or np.isnan(row).any():
        raise ValueError("distances should be a non-empty row of numbers without NaN.")
    return row
