"""Two arms on the same items: their difference, and whether it can be chance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from guardalign_middleware.evaluation.metrics import Estimate, mean_without_spread, rate

_MOST_CELLS = 2**24
"""Resampled values in memory at a time."""


@dataclass(frozen=True)
class McNemar:
    """McNemar's exact test of paired outcomes.

    Attributes:
        only_first: items with the outcome in the first arm alone.
        only_second: in the second arm alone.
        p_value: two-sided, of a split as uneven as this or more, if both were equally likely; 1
            where no item differs.
        n: items in all.
    """

    only_first: int
    only_second: int
    p_value: float
    n: int


def bootstrap_mean(
    values: ArrayLike, *, shares: bool = False, resamples: int = 2000, seed: int = 0
) -> Estimate:
    """A mean with its 95% percentile bootstrap interval over items.

    Args:
        values: one of each item, `[n]`.
        shares: whether values are from 0 to 1. The interval of equal ones is then
            `mean_without_spread`; of other values nothing can be said, and it has no width.
        resamples: of the items.
        seed: of the resampling.

    Raises:
        ValueError: there are none, or one is NaN.
    """
    row = _row(values)
    value = float(row.mean())
    if (row == row[0]).all():
        value = float(row[0])
        equal = Estimate(value, value, value, len(row))
        return mean_without_spread(value, len(row)) if shares else equal
    interval = stats.bootstrap(
        (row,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _MOST_CELLS // len(row)),
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high), len(row))


def paired_difference(
    first: Mapping[str, float], second: Mapping[str, float], *, resamples: int = 2000, seed: int = 0
) -> Estimate:
    """The mean of `second` minus that of `first`, with its 95% interval, paired by item.

    Of outcomes, which are 0 or 1, the interval is Newcombe's, which has a width for few items and
    for arms without a difference, too. Of other values it is a bootstrap: each resample keeps both
    values of an item. Either way, what makes an item hard cancels out.

    Args:
        first: id → value in one arm; outcomes are 0 or 1.
        second: id → value in another arm.
        resamples: of the items.
        seed: of the resampling.

    Raises:
        ValueError: the arms are about different items, there are none, or a value is NaN.
    """
    one, other = _aligned(first, second)
    if np.isin((one, other), (0.0, 1.0)).all():
        return _newcombe(one.astype(bool), other.astype(bool))
    return bootstrap_mean(other - one, resamples=resamples, seed=seed)


def _newcombe(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Estimate:
    """Newcombe's method 10: the scores of both rates, joined by their correlation.

    R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions
    based on paired data", Statistics in Medicine 17, 1998, 2635-2650.
    """
    n = len(first)
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    hits, others = int(first.sum()), int(second.sum())
    one, other = rate(hits, n), rate(others, n)
    only = (int((first & ~second).sum()), int((second & ~first).sum()))
    product = both * neither - only[0] * only[1]
    # A correction for continuity where the arms agree.
    agreed = max(product - n / 2, 0.0) if product > 0 else product
    spread = hits * (n - hits) * others * (n - others)
    phi = agreed / math.sqrt(spread) if spread else 0.0

    def width(up: float, down: float) -> float:
        return math.sqrt(max(up**2 - 2 * phi * up * down + down**2, 0.0))

    value = (only[1] - only[0]) / n
    below = width(other.value - other.low, one.high - one.value)
    above = width(other.high - other.value, one.value - one.low)
    return Estimate(value, value - below, value + above, n)


def mcnemar(first: Mapping[str, bool], second: Mapping[str, bool]) -> McNemar:
    """Test whether an outcome is as frequent in one arm as in another.

    Args:
        first: id → whether it has the outcome in one arm.
        second: the same in another arm.

    Raises:
        ValueError: the arms are about different items, or there are none.
    """
    one, other = (row.astype(bool) for row in _aligned(first, second))
    only_first, only_second = int((one & ~other).sum()), int((other & ~one).sum())
    different = only_first + only_second
    p_value = stats.binomtest(only_first, different, 0.5).pvalue if different else 1.0
    return McNemar(only_first, only_second, float(p_value), len(one))


def _aligned(
    first: Mapping[str, float], second: Mapping[str, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if first.keys() != second.keys():
        alone = sorted(first.keys() ^ second.keys())
        raise ValueError(
            f"Both arms should be about the same items. {len(alone)} are in one alone, as "
            f"{alone[0]} is."
        )
    return _row(list(first.values())), _row([second[name] for name in first])


def _row(values: ArrayLike) -> NDArray[np.float64]:
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1 or not row.size or np.isnan(row).any():
        raise ValueError("values should be a non-empty row of numbers without NaN.")
    return row
