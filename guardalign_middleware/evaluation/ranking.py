"""How well distances rank unsafe before safe images: point estimates and 95% intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guardalign_middleware.evaluation.metrics import Estimate, mean_without_spread, rate

Row = NDArray[np.float64]
Sample = tuple[ArrayLike, ArrayLike]
"""Distances of the unsafe images and of the safe ones; low = unsafe."""
FIGURES = ("AUROC", "AUPRC", "detected at 1%", "detected at 5%")


def threshold_at(safe: ArrayLike, false_alarm: float) -> float:
    """The largest threshold that flags at most this share of the given safe distances."""
    ordered = np.sort(np.asarray(safe, dtype=np.float64))
    allowed = int(np.floor(false_alarm * len(ordered) + 1e-9))
    return float(np.nextafter(ordered[allowed], -np.inf)) if allowed < len(ordered) else np.inf


def detected_at_false_alarm(unsafe: ArrayLike, safe: ArrayLike, false_alarm: float) -> Estimate:
    """Share of unsafe images detected at `threshold_at`, with its Wilson interval.

    The threshold is chosen on the same safe images. The figure ranks detectors; the rates of a
    stored profile on fresh images are a different and harder question.

    Raises:
        ValueError: a group is empty or contains a NaN.
    """
    first, second = _checked(unsafe), _checked(safe)
    return rate(int((first <= threshold_at(second, false_alarm)).sum()), len(first))


def average_precision(unsafe: ArrayLike, safe: ArrayLike) -> float:
    """Area under the precision-recall curve as Σ (R_k − R_{k−1}) P_k; ties count once.

    Unlike AUROC it depends on the class balance: chance level is the share of unsafe images.
    """
    first, second = np.sort(np.asarray(unsafe)), np.sort(np.asarray(safe))
    levels = np.unique(first)
    hits = np.searchsorted(first, levels, side="right")
    alarms = np.searchsorted(second, levels, side="right")
    gained = np.diff(hits, prepend=0) / len(first)
    return float((gained * hits / (hits + alarms)).sum())


def ranking_figures(unsafe: ArrayLike, safe: ArrayLike) -> dict[str, float]:
    """`FIGURES` of one sample.

    AUROC is P(unsafe distance < safe distance) + ½ P(equal).

    Args:
        unsafe: distances of unsafe images, `[n]`; low = unsafe.
        safe: distances of safe images, `[m]`.
    """
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


def ranking_estimates(
    unsafe: ArrayLike, safe: ArrayLike, *, resamples: int = 400
) -> dict[str, Estimate]:
    """`ranking_figures` with percentile bootstrap intervals.

    Both groups are resampled, so the thresholds vary too.

    Raises:
        ValueError: a group is empty or contains a NaN.
    """
    first, second = _checked(unsafe), _checked(safe)
    rng = np.random.default_rng(0)
    resampled = [
        ranking_figures(rng.choice(first, len(first)), rng.choice(second, len(second)))
        for _ in range(resamples)
    ]
    n = len(first) + len(second)
    return {
        name: _estimate(value, [one[name] for one in resampled], n)
        for name, value in ranking_figures(first, second).items()
    }


def area_estimate(unsafe: ArrayLike, safe: ArrayLike, *, resamples: int = 400) -> Estimate:
    """The AUROC of `ranking_estimates`, with an interval also where no pair is ranked wrong.

    Resamples of groups that do not overlap do not differ. Its bound is then that of a rate over as
    many trials as the smaller group has images: pairs share images, and say no more than these.

    Raises:
        ValueError: a group is empty or contains a NaN.
    """
    first, second = _checked(unsafe), _checked(safe)
    found = ranking_estimates(first, second, resamples=resamples)["AUROC"]
    if found.value not in (0.0, 1.0):
        return found
    edge = mean_without_spread(found.value, min(len(first), len(second)))
    return Estimate(found.value, edge.low, edge.high, found.n)


def ranking_differences(
    first: Sample, second: Sample, *, resamples: int = 400
) -> dict[str, Estimate]:
    """`ranking_figures` of `first` minus those of `second`, paired by image.

    Args:
        first: distances by one detector.
        second: distances by another detector, of the same images in the same order.
        resamples: bootstrap resamples of the images; each keeps both distances of an image.

    Raises:
        ValueError: the numbers of images differ, or a group is empty or contains a NaN.
    """
    (unsafe, safe), (other_unsafe, other_safe) = (
        tuple(_checked(group) for group in sample) for sample in (first, second)
    )
    if (len(unsafe), len(safe)) != (len(other_unsafe), len(other_safe)):
        raise ValueError("Both samples should be about the same images.")
    rng = np.random.default_rng(0)

    def difference(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> dict[str, float]:
        one = ranking_figures(unsafe[rows], safe[columns])
        other = ranking_figures(other_unsafe[rows], other_safe[columns])
        return {name: one[name] - other[name] for name in one}

    resampled = [
        difference(
            rng.integers(len(unsafe), size=len(unsafe)), rng.integers(len(safe), size=len(safe))
        )
        for _ in range(resamples)
    ]
    n = len(unsafe) + len(safe)
    measured = difference(np.arange(len(unsafe)), np.arange(len(safe)))
    return {
        name: _estimate(value, [one[name] for one in resampled], n)
        for name, value in measured.items()
    }


def mean_estimate(values: ArrayLike, *, resamples: int = 400) -> Estimate:
    """A mean with its percentile bootstrap interval.

    Raises:
        ValueError: there are no values, or one is NaN.
    """
    return _resampled(values, np.mean, resamples)


def median_estimate(values: ArrayLike, *, resamples: int = 400) -> Estimate:
    """A median with its percentile bootstrap interval.

    Raises:
        ValueError: there are no values, or one is NaN.
    """
    return _resampled(values, np.median, resamples)


def _resampled(
    values: ArrayLike, figure: Callable[[Row], np.floating[Any]], resamples: int
) -> Estimate:
    row = _checked(values)
    rng = np.random.default_rng(0)
    resampled = [float(figure(rng.choice(row, len(row)))) for _ in range(resamples)]
    return _estimate(float(figure(row)), resampled, len(row))


def _estimate(value: float, resampled: list[float], n: int) -> Estimate:
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Estimate(value, float(low), float(high), n)


def _checked(values: ArrayLike) -> Row:
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1 or row.size == 0 or np.isnan(row).any():
        raise ValueError("distances should be a non-empty row of numbers without NaN.")
    return row
