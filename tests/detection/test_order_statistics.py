"""Thresholds for several forms: the promise holds whatever the distances are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray

from guardalign_middleware.detection.order_statistics import (
    fit_thresholds,
    highest_thresholds,
    lowest_thresholds,
)
from guardalign_middleware.errors import ConfigError

Floats = NDArray[np.float64]
SOME = st.integers(1, 4)
SCALE = np.array([1.0, 0.01, 30.0])
"""Forms measure the same image on very different scales."""


def tables(forms: st.SearchStrategy[int] = SOME) -> st.SearchStrategy[Floats]:
    """Distances `[images, forms]` with many ties, and infinite ones."""
    values = st.one_of(st.integers(0, 9).map(float), st.floats(0, 2), st.just(math.inf))
    return st.tuples(st.integers(3, 24), forms).flatmap(
        lambda shape: st_numpy.arrays(np.float64, shape, elements=values)
    )


def ceiling_of(table: Floats) -> Floats:
    return np.where(np.isfinite(table), table, 0.0).max(axis=0)


def drawn(rng: np.random.Generator, count: int, shared: float, shift: float = 0.0) -> Floats:
    """Distances `[count, 3]`; `shared` is the correlation of the forms, `shift` is towards 0."""
    common, own = rng.standard_normal((count, 1)), rng.standard_normal((count, 3))
    latent = math.sqrt(shared) * common + math.sqrt(1.0 - shared) * own - shift
    return SCALE / (1.0 + np.exp(-latent))


@given(tables(), st.floats(0.05, 0.9))
def test_at_most_the_promised_share_is_flagged_by_the_others(pool: Floats, alpha: float) -> None:
    """This is the guarantee, without chance: each image in turn is the new one."""
    flagged = 0
    for index, image in enumerate(pool):
        others = np.delete(pool, index, axis=0)
        try:
            flagged += bool((image <= highest_thresholds(others, alpha)).any())
        except ConfigError:
            return  # too few images for this α
    assert flagged <= alpha * len(pool) + 1e-6


@given(tables(st.just(1)), st.floats(0.05, 0.9))
def test_one_form_is_the_order_statistic_of_split_conformal_prediction(
    safe: Floats, alpha: float
) -> None:
    rank = math.floor(alpha * (len(safe) + 1) + 1e-9)
    if rank < 1:
        with pytest.raises(ConfigError, match=r"cannot guarantee .*, --max-false-alarm"):
            highest_thresholds(safe, alpha)
        return
    expected = np.nextafter(np.sort(safe[:, 0])[rank - 1], -np.inf)
    assert highest_thresholds(safe, alpha).tolist() == [expected]


@given(tables(), st.integers(0, 99))
def test_order_of_the_images_does_not_matter_and_more_alarms_mean_higher_thresholds(
    safe: Floats, seed: int
) -> None:
    before = np.full(safe.shape[1], -math.inf)
    shuffled = safe[np.random.default_rng(seed).permutation(len(safe))]
    for alpha in (0.2, 0.4, 0.6, 0.8):
        try:
            found = highest_thresholds(safe, alpha)
        except ConfigError:
            continue
        assert (found >= before).all()
        assert (found == highest_thresholds(shuffled, alpha)).all()
        before = found


@pytest.mark.parametrize("shared", [0.0, 0.9, 1.0])
@pytest.mark.parametrize(("alpha", "images"), [(0.05, 199), (0.1, 79)])
def test_the_promise_holds_on_fresh_images_and_is_used(
    shared: float, alpha: float, images: int
) -> None:
    """500 calibration sets of 200 new images each; an equal split wastes most of α."""
    rng = np.random.default_rng(0)
    rates, split = [], []
    for _ in range(500):
        safe, fresh = drawn(rng, images, shared), drawn(rng, 200, shared)
        rates.append((fresh <= highest_thresholds(safe, alpha)).any(axis=1).mean())
        equal = np.sort(safe, axis=0)[math.floor(alpha / 3 * (images + 1) + 1e-9) - 1]
        split.append((fresh < equal).any(axis=1).mean())
    error = np.std(rates) / math.sqrt(len(rates))
    assert np.mean(rates) <= alpha + 3 * error
    assert np.mean(rates) >= 0.85 * alpha - 3 * error
    if shared > 0.5:
        assert np.mean(split) < 0.65 * np.mean(rates)


def test_thresholds_stand_at_equal_quantiles_whatever_the_scale() -> None:
    safe = drawn(np.random.default_rng(1), 1000, 0.5)
    share = (safe <= highest_thresholds(safe, 0.05)).mean(axis=0)
    assert share.max() - share.min() <= 1 / 1000 + 1e-9
    assert 0.05 / 3 < share.min() < 0.05


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_misses_are_promised_over_all_forms(shared: float) -> None:
    rng = np.random.default_rng(2)
    safe = drawn(rng, 300, shared)
    missed = []
    for _ in range(400):
        unsafe = drawn(rng, 79, shared, 2.0)
        found = lowest_thresholds(unsafe, safe, ceiling_of(safe), 0.1)
        missed.append(1.0 - (drawn(rng, 300, shared, 2.0) <= found).any(axis=1).mean())
    assert np.mean(missed) == pytest.approx(0.1, abs=3 * np.std(missed) / 20)


@given(tables(st.just(2)), tables(st.just(2)), st.floats(0.05, 0.9))
def test_the_promised_number_of_unsafe_images_is_found(
    safe: Floats, unsafe: Floats, beta: float
) -> None:
    try:
        found = lowest_thresholds(unsafe, safe, ceiling_of(safe), beta)
    except ConfigError:
        return
    assert (unsafe <= found).any(axis=1).sum() >= (1.0 - beta) * (len(unsafe) + 1) - 1e-6
    assert (found <= ceiling_of(safe)).all()


def test_one_form_needs_no_safe_image_for_misses_alone() -> None:
    unsafe = np.arange(1.0, 20.0)[:, None]
    none = np.empty((0, 1))
    assert lowest_thresholds(unsafe, none, np.array([math.inf]), 0.1).tolist() == [18.0]
    with pytest.raises(ConfigError, match="need safe images"):
        lowest_thresholds(np.tile(unsafe, 2), np.empty((0, 2)), np.full(2, math.inf), 0.1)


def test_a_form_that_no_safe_image_comes_near_gets_a_finite_threshold() -> None:
    safe = np.stack([np.arange(1.0, 40.0), np.full(39, math.inf)], axis=1)
    found = fit_thresholds(safe, np.empty((0, 2)), 0.05, None, ceiling=np.array([39.0, 7.0]))
    assert found[1] == 7.0
    assert found[0] < 3.0
    unsafe = np.stack([np.full(19, 30.0), np.full(19, 3.5)], axis=1)
    alone = fit_thresholds(safe, unsafe, None, 0.1, ceiling=np.array([39.0, 7.0]))
    assert alone == pytest.approx([0.5, 3.5])  # both half way to their first safe image


def test_what_cannot_be_promised_says_what_would_do() -> None:
    safe = drawn(np.random.default_rng(3), 58, 0.0)
    ceiling = ceiling_of(safe)
    with pytest.raises(ConfigError, match=r"58 safe images .* over 3 forms\. Use at least 59"):
        highest_thresholds(safe, 0.05)
    assert np.isfinite(highest_thresholds(np.concatenate([safe, safe[:1]]), 0.05)).all()
    near, far = np.full((9, 3), 1e-9), np.full((9, 3), 1e9)
    with pytest.raises(ConfigError, match=r"9 unsafe images .* at least 19"):
        lowest_thresholds(near, safe, ceiling, 0.05)
    with pytest.raises(ConfigError, match="farther than every safe one"):
        lowest_thresholds(far, safe, ceiling, 0.2)
    between = np.tile(np.median(safe, axis=0), (9, 1))
    with pytest.raises(ConfigError, match=r"would miss 100\.0% .* would flag \d\d\.\d%"):
        fit_thresholds(safe, between, 0.1, 0.2, ceiling=ceiling)
    both = fit_thresholds(safe, near, 0.1, 0.2, ceiling=ceiling)
    assert both.tolist() == highest_thresholds(safe, 0.1).tolist()
