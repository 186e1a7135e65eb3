"""Two arms on the same items: their difference, and whether it can be chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from guardalign_middleware.evaluation.metrics import Estimate

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


def bootstrap_mean(values: ArrayLike, *, resamples: int = 2000, seed: int = 0) -> Estimate:
    """A mean with its 95% percentile bootstrap interval over items.

    Args:
        values: one of each item, `[n]`.
        resamples: of the items.
        seed: of the resampling.

    Raises:
        ValueError: there are none, or one is NaN.
    """
    row = _row(values)
    value = float(row.mean())
    if len(row) == 1:
        return Estimate(value, value, value, 1)
    interval = stats.bootstrap(
        (row,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _MOST_CELLS // len(row)),
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high), len(row))


def bootstrap_difference(
    first: Mapping[str, float], second: Mapping[str, float], *, resamples: int = 2000, seed: int = 0
) -> Estimate:
    """The mean of `second` minus that of `first`, with its interval, paired by item.

    Each resample keeps both values of an item, so what makes an item hard cancels out.

    Args:
        first: id → value in one arm; outcomes are 0 or 1.
        second: id → value in another arm.
        resamples: of the items.
        seed: of the resampling.

    Raises:
        ValueError: the arms are about different items, there are none, or a value is NaN.
    """
    one, other = _aligned(first, second)
    return bootstrap_mean(other - one, resamples=resamples, seed=seed)


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
