import pytest
from scipy import stats

from guardalign_middleware.evaluation.metrics import mean_without_spread, pooled_rate, rate


def test_intervals_shrink_with_the_sample() -> None:
    few, many = rate(9, 10), rate(900, 1000)
    assert few.value == many.value
    assert few.low < many.low < many.value < many.high < few.high


@pytest.mark.parametrize(("hits", "n"), [(3, 2), (-1, 2), (0, 0)])
def test_impossible_counts_are_rejected(hits: int, n: int) -> None:
    with pytest.raises(ValueError, match="hits should be"):
        rate(hits, n)


def test_parts_of_a_group_share_its_fate() -> None:
    # Of 50 pictures with ten words, five lose all of theirs: far less sure than 500 words apart.
    pooled = pooled_rate([10] * 45 + [0] * 5, [10] * 50)
    assert (pooled.value, pooled.n) == (0.9, 500)
    pictures, words = rate(45, 50), rate(450, 500)
    assert pooled.low == pytest.approx(pictures.low, abs=0.04)
    assert pooled.high - pooled.low > 2 * (words.high - words.low)


def test_words_that_miss_evenly_are_as_sure_as_if_apart() -> None:
    pooled = pooled_rate([9, 9, 9, 8, 10] * 20, [10] * 100)
    assert pooled.high - pooled.low < rate(900, 1000).high - rate(900, 1000).low


@pytest.mark.parametrize("hits", [[0, 0, 0], [4, 5, 6]])
def test_where_groups_do_not_differ_they_are_the_trials(hits: list[int]) -> None:
    found = pooled_rate(hits, [4, 5, 6])
    expected = rate(3 if any(hits) else 0, 3)
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)


@pytest.mark.parametrize(("hits", "totals"), [([], []), ([0], [0]), ([3], [2]), ([1], [1, 2])])
def test_impossible_groups_are_rejected(hits: list[int], totals: list[int]) -> None:
    with pytest.raises(ValueError, match=r"hits should be|shorter|longer"):
        pooled_rate(hits, totals)


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (5, 5), (0, 9), (3, 12)])
def test_equal_values_are_as_sure_as_a_rate(hits: int, n: int) -> None:
    found = mean_without_spread(hits / n, n)
    exact = stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    assert (found.value, found.n) == (hits / n, n)
