import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.evaluation.metrics import auroc, detected_at_false_alarm, rate


def test_perfect_separation_is_one_and_reversed_is_zero() -> None:
    assert auroc([0.0, 0.1], [0.5, 0.9, 1.0], resamples=50).value == 1.0
    assert auroc([0.5, 0.9, 1.0], [0.0, 0.1], resamples=50).value == 0.0


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=12),
    st.lists(st.integers(0, 5), min_size=1, max_size=12),
)
def test_auroc_counts_pairs(unsafe: list[int], safe: list[int]) -> None:
    pairs = [1.0 if u < s else 0.5 if u == s else 0.0 for u in unsafe for s in safe]
    assert auroc(unsafe, safe, resamples=2).value == pytest.approx(np.mean(pairs))


def test_intervals_shrink_with_the_sample() -> None:
    few, many = rate(9, 10), rate(900, 1000)
    assert few.value == many.value
    assert few.low < many.low < many.value < many.high < few.high


def test_detected_rate_keeps_the_false_alarm_budget() -> None:
    safe = np.linspace(0, 1, 100)
    assert detected_at_false_alarm([0.04, 0.06], safe, 0.05).value == 0.5
    assert detected_at_false_alarm([2.0], [1.0], 1.0).value == 1.0


@pytest.mark.parametrize("bad", [[], [float("nan")], [[0.1]]])
def test_empty_or_nan_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="unsafe should be"):
        auroc(bad, [0.1])


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="hits should be"):
        rate(3, 2)
