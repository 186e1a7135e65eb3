from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.evaluation.metrics import auroc, detected_at_false_alarm
from guardalign_middleware.evaluation.ranking import (
    average_precision,
    compared,
    estimated,
    mean,
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
    assert figures["AUROC"] == pytest.approx(auroc(unsafe, safe, resamples=1).value)
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


def test_perfect_and_reversed() -> None:
    perfect = ranking_figures([0.1, 0.2], [0.3] * 40)
    assert set(perfect.values()) == {1.0}
    reversed_ = ranking_figures([0.9], [0.3] * 40)
    assert reversed_["AUROC"] == reversed_["detected at 5%"] == 0.0
    assert average_precision([0.9], [0.3] * 3) == 0.25


def test_intervals_hold_the_truth_and_shrink() -> None:
    rng = np.random.default_rng(0)
    small, large = (estimated(rng.normal(0.0, 1.0, n), rng.normal(1.0, 1.0, n)) for n in (40, 400))
    truth = 0.7602  # Φ(1 / √2)
    for figures in (small, large):
        assert figures["AUROC"].low < truth < figures["AUROC"].high
    for name in small:
        assert large[name].high - large[name].low < small[name].high - small[name].low


def test_a_reading_does_not_differ_from_itself_and_pairs_matter() -> None:
    rng = np.random.default_rng(1)
    unsafe, safe = rng.normal(0.0, 1.0, 60), rng.normal(1.0, 1.0, 60)
    same = compared((unsafe, safe), (unsafe, safe))
    assert all(e.value == e.low == e.high == 0.0 for e in same.values())
    # A little better on every image: the paired interval sees it, the two single ones overlap.
    better = compared((unsafe - 0.3, safe), (unsafe, safe))["AUROC"]
    assert better.low > 0.0
    with pytest.raises(ValueError, match="same images"):
        compared((unsafe, safe), (unsafe[1:], safe))


def test_mean_and_bad_input() -> None:
    assert mean([0.5, 0.5]).low == mean([0.5, 0.5]).high == 0.5
    for bad in ([], [float("nan")], [[0.1]]):
        with pytest.raises(ValueError, match="non-empty"):
            estimated(bad, [0.5])
