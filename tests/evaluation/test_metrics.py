import pytest

from guardalign_middleware.evaluation.metrics import rate


def test_intervals_shrink_with_the_sample() -> None:
    few, many = rate(9, 10), rate(900, 1000)
    assert few.value == many.value
    assert few.low < many.low < many.value < many.high < few.high


@pytest.mark.parametrize(("hits", "n"), [(3, 2), (-1, 2), (0, 0)])
def test_impossible_counts_are_rejected(hits: int, n: int) -> None:
    with pytest.raises(ValueError, match="hits should be"):
        rate(hits, n)
