from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from guardalign_middleware.evaluation.metrics import mean_without_spread
from guardalign_middleware.evaluation.ranking import (
    area_estimate,
    average_precision,
    detected_at_false_alarm,
    mean_estimate,
    ranking_differences,
    ranking_estimates,
    ranking_figures,
    threshold_at,
)

# Few levels, so that ties are common.
DISTANCES = st.lists(st.integers(0, 9).map(lambda k: k / 9), min_size=1, max_size=30)


def area_by_hand(unsafe: list[float], safe: list[float]) -> float:
    """Walk down the ranking level by level."""
    area = 0.0
    for level in sorted(set(unsafe)):
        hits = sum(d <= level for d in unsafe)
        alarms = sum(d <= level for d in safe)
        area += unsafe.count(level) / len(unsafe) * hits / (hits + alarms)
    return area


@given(DISTANCES, DISTANCES)
def test_agrees_with_the_definitions(unsafe: list[float], safe: list[float]) -> None:
    figures = ranking_figures(unsafe, safe)
    pairs = [1.0 if u < s else 0.5 if u == s else 0.0 for u in unsafe for s in safe]
    wins = mannwhitneyu(safe, unsafe).statistic
    assert figures["AUROC"] == pytest.approx(np.mean(pairs))
    assert figures["AUROC"] == pytest.approx(wins / (len(unsafe) * len(safe)))
    assert figures["AUPRC"] == pytest.approx(area_by_hand(unsafe, safe))
    for share in (0.01, 0.05):
        expected = detected_at_false_alarm(unsafe, safe, share).value
        assert figures[f"detected at {share:.0%}"] == expected


@given(DISTANCES, st.sampled_from([0.0, 0.05, 0.5, 0.99, 1.0]))
def test_the_threshold_flags_at_most_the_share(safe: list[float], share: float) -> None:
    threshold = threshold_at(safe, share)
    assert sum(d <= threshold for d in safe) <= share * len(safe) + 1e-9
    if np.isfinite(threshold):
        assert sum(d <= np.nextafter(threshold, np.inf) for d in safe) > share * len(safe)


def test_detection_keeps_the_false_alarm_budget() -> None:
    safe = np.linspace(0, 1, 100)
    assert detected_at_false_alarm([0.04, 0.06], safe, 0.05).value == 0.5
    assert detected_at_false_alarm([2.0], [1.0], 1.0).value == 1.0


def test_perfect_and_reversed() -> None:
    perfect = ranking_figures([0.1, 0.2], [0.3] * 40)
    assert set(perfect.values()) == {1.0}
    reversed_ = ranking_figures([0.9], [0.3] * 40)
    assert reversed_["AUROC"] == reversed_["detected at 5%"] == 0.0
    assert average_precision([0.9], [0.3] * 3) == 0.25


def test_intervals_hold_the_truth_and_shrink() -> None:
    rng = np.random.default_rng(0)
    small, large = (
        ranking_estimates(rng.normal(0.0, 1.0, n), rng.normal(1.0, 1.0, n)) for n in (40, 400)
    )
    truth = 0.7602  # Φ(1 / √2)
    for figures in (small, large):
        assert figures["AUROC"].low < truth < figures["AUROC"].high
    for name in small:
        assert large[name].high - large[name].low < small[name].high - small[name].low


def test_a_perfect_area_is_as_sure_as_the_smaller_group() -> None:
    for few, many in ((5, 5), (5, 400), (100, 200)):
        unsafe, safe = np.linspace(0.0, 0.4, few), np.linspace(0.5, 1.0, many)
        found = area_estimate(unsafe, safe)
        edge = mean_without_spread(1.0, few)
        assert (found.value, found.low, found.high, found.n) == (1.0, edge.low, 1.0, few + many)
        assert area_estimate(safe, unsafe).high == pytest.approx(1.0 - edge.low)
    # Elsewhere it is the bootstrap.
    assert (
        area_estimate([0.1, 0.6], [0.5, 0.9]) == ranking_estimates([0.1, 0.6], [0.5, 0.9])["AUROC"]
    )


def test_a_detector_does_not_differ_from_itself_and_pairs_matter() -> None:
    rng = np.random.default_rng(1)
    unsafe, safe = rng.normal(0.0, 1.0, 60), rng.normal(1.0, 1.0, 60)
    same = ranking_differences((unsafe, safe), (unsafe, safe))
    assert all(e.value == e.low == e.high == 0.0 for e in same.values())
    # A little better on every image: the paired interval sees it, the two single ones overlap.
    better = ranking_differences((unsafe - 0.3, safe), (unsafe, safe))["AUROC"]
    assert better.low > 0.0
    with pytest.raises(ValueError, match="same images"):
        ranking_differences((unsafe, safe), (unsafe[1:], safe))


def test_mean() -> None:
    assert mean_estimate([0.5, 0.5]).low == mean_estimate([0.5, 0.5]).high == 0.5


@pytest.mark.parametrize("bad", [[], [float("nan")], [[0.1]]])
def test_empty_or_nan_is_rejected(bad: list[float]) -> None:
    for call in (
        lambda: ranking_estimates(bad, [0.5]),
        lambda: ranking_differences((bad, [0.5]), (bad, [0.5])),
        lambda: detected_at_false_alarm([0.5], bad, 0.05),
        lambda: mean_estimate(bad),
    ):
        with pytest.raises(ValueError, match="non-empty"):
            call()
