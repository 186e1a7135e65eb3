from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.evaluation.metrics import mean_without_spread
from guardalign_middleware.evaluation.paired import bootstrap_mean, mcnemar, paired_difference


def arm(outcomes: str) -> dict[str, bool]:
    return {str(number): one == "1" for number, one in enumerate(outcomes)}


def test_mcnemar_counts_only_what_differs() -> None:
    # 8 and 2 discordant of 20: twice the binomial tail of at most 2 in 10, 2 · 56/1024.
    first = arm("1" * 8 + "0" * 2 + "1" * 5 + "0" * 5)
    second = arm("0" * 8 + "1" * 2 + "1" * 5 + "0" * 5)
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second, found.n) == (8, 2, 20)
    assert found.p_value == pytest.approx(112 / 1024)


def test_equal_arms_do_not_differ() -> None:
    same = arm("1010")
    assert mcnemar(same, same).p_value == 1.0
    found = paired_difference(same, same)
    assert (found.value, found.n) == (0.0, 4)
    # Four items that agree say little of the next ones.
    assert found.low == pytest.approx(-found.high)
    assert 0.2 < found.high < 0.5


@pytest.mark.parametrize(
    ("both", "only_second", "only_first", "neither", "low", "high"),
    [
        # Newcombe's own examples of his method 10, Statistics in Medicine 17, 1998, table II.
        (36, 12, 2, 0, 0.0569, 0.3404),
        (54, 0, 0, 0, -0.0664, 0.0664),
        (53, 0, 1, 0, -0.0977, 0.0496),
        (30, 0, 0, 24, -0.0358, 0.0358),
    ],
)
def test_the_interval_of_a_difference_is_newcombes(
    both: int, only_second: int, only_first: int, neither: int, low: float, high: float
) -> None:
    first = arm("1" * both + "0" * only_second + "1" * only_first + "0" * neither)
    second = arm("1" * both + "1" * only_second + "0" * only_first + "0" * neither)
    found = paired_difference(first, second)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_the_interval_of_a_difference_has_a_width_and_turns_round(
    pairs: list[tuple[bool, bool]],
) -> None:
    first, second = ({str(n): one[side] for n, one in enumerate(pairs)} for side in (0, 1))
    there, back = paired_difference(first, second), paired_difference(second, first)
    assert -1 <= there.low <= there.value <= there.high <= 1
    assert there.low < there.high
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_values_that_are_no_outcomes_are_resampled() -> None:
    found = paired_difference({"a": 0.5, "b": 0.1}, {"a": 1.0, "b": 0.3})
    assert (found.value, found.low, found.high) == pytest.approx((0.35, 0.2, 0.5))


def test_a_difference_is_paired_by_id() -> None:
    first = arm("1" * 60 + "0" * 40)
    second = dict(reversed(arm("1" * 50 + "0" * 50).items()))
    found = paired_difference(first, second)
    assert found.value == pytest.approx(-0.1)
    # Ten of a hundred items differ: about ±1.96 · √(0.1 · 0.9 / 100).
    assert (found.low, found.high) == pytest.approx((-0.16, -0.045), abs=0.015)
    # The same shares of unpaired items would be five times less certain.
    crossed = arm("0" * 50 + "1" * 50)
    wide = paired_difference(first, crossed)
    assert wide.high - wide.low > 2.5 * (found.high - found.low)


def test_the_interval_of_a_mean_holds_what_it_should() -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, 400)
    found = bootstrap_mean(values)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * 2.0 / 20, rel=0.15)
    assert bootstrap_mean([0.5]).low == 0.5


@pytest.mark.parametrize("values", [[1.0], [1.0] * 20, [0.0] * 20, [0.3] * 20])
def test_equal_shares_have_the_interval_of_a_rate(values: list[float]) -> None:
    found = bootstrap_mean(values, shares=True)
    assert found == mean_without_spread(values[0], len(values))
    assert found.low < found.high


def test_a_seed_gives_one_interval() -> None:
    values = np.arange(30.0)
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1)
    assert bootstrap_mean(values, seed=1) != bootstrap_mean(values, seed=2)


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        ({"a": 1.0}, {"b": 1.0}, "as a is"),
        ({"a": 1.0, "b": 1.0}, {"a": 1.0}, "1 are in one alone, as b"),
        ({}, {}, "non-empty"),
        ({"a": float("nan")}, {"a": 1.0}, "without NaN"),
    ],
)
def test_arms_on_other_items_are_not_compared(
    first: dict[str, float], second: dict[str, float], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        paired_difference(first, second)
