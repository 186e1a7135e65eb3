from __future__ import annotations

import numpy as np
import pytest

from guardalign_middleware.evaluation.paired import bootstrap_difference, bootstrap_mean, mcnemar


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
    found = bootstrap_difference(same, same)
    assert (found.value, found.low, found.high, found.n) == (0.0, 0.0, 0.0, 4)


def test_a_difference_is_paired_by_id() -> None:
    first = arm("1" * 60 + "0" * 40)
    second = dict(reversed(arm("1" * 50 + "0" * 50).items()))
    found = bootstrap_difference(first, second)
    assert found.value == pytest.approx(-0.1)
    # Ten of a hundred items differ: about ±1.96 · √(0.1 · 0.9 / 100).
    assert (found.low, found.high) == pytest.approx((-0.16, -0.045), abs=0.015)
    # The same shares of unpaired items would be five times less certain.
    crossed = arm("0" * 50 + "1" * 50)
    wide = bootstrap_difference(first, crossed)
    assert wide.high - wide.low > 2.5 * (found.high - found.low)


def test_the_interval_of_a_mean_holds_what_it_should() -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, 400)
    found = bootstrap_mean(values)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * 2.0 / 20, rel=0.15)
    assert bootstrap_mean([0.5]).low == 0.5


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
        bootstrap_difference(first, second)
