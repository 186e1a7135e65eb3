from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.words.guards.guard import Assessment
from guardalign_middleware.words.guards.passage_judge import PassageJudge, picture_distance
from guardalign_middleware.words.guards.thresholds import fit_guards
from tests.support.words import WordGuard, column


class NumberGuard(WordGuard):
    """The distance is the number that a text ends with; other texts are unknown."""

    def assess(self, texts: Sequence[str]) -> tuple[Assessment, ...]:
        return tuple(self._one(text.split()[-1]) for text in texts)

    def _one(self, word: str) -> Assessment:
        if word.replace(".", "", 1).isdigit():
            return Assessment("bad", float(word))
        return Assessment.of_unknown("no number")


def pages(numbers: Sequence[float]) -> list[list]:  # type: ignore[type-arg]
    return [column(f"page {number:.4f}") for number in numbers]


def test_the_nearest_passage_is_the_distance_of_a_picture() -> None:
    page = [*column("page 0.7"), *column("page 0.2", y=300), *column("page 0.9", y=600)]
    assert picture_distance(NumberGuard(), page) == 0.2
    assert picture_distance(NumberGuard(), []) == float("inf")


def test_two_guards_share_the_bound() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.random(199)
    (alone,) = fit_guards([NumberGuard()], pages(numbers), max_false_alarm=0.05)
    both = fit_guards([NumberGuard()] * 2, pages(numbers), max_false_alarm=0.05)
    assert alone.fit.max_false_alarm == 0.05
    assert [one.fit.max_false_alarm for one in both] == [0.025, 0.025]
    assert both[0].threshold < alone.threshold
    assert sum(number <= alone.threshold for number in np.round(numbers, 4)) < 10


def test_unsafe_pictures_are_counted_and_unknown_ones_are_not_detected() -> None:
    safe = pages(np.linspace(0.5, 1.0, 40))
    unsafe = [*pages([0.1, 0.2]), column("nothing")]
    (profile,) = fit_guards([NumberGuard()], safe, unsafe)
    assert profile.fit.detected == pytest.approx(2 / 3)


def test_unknown_safe_pictures_do_not_make_the_threshold_infinite() -> None:
    safe = [*pages([0.6, 0.8]), *[column("nothing")] * 60]
    (profile,) = fit_guards([NumberGuard()], safe)
    assert profile.threshold < 0.8


def test_a_guard_that_knows_nothing_cannot_be_fitted() -> None:
    with pytest.raises(ConfigError, match="nothing"):
        fit_guards([NumberGuard()], [column("nothing")] * 60)
    with pytest.raises(ConfigError, match="no guard"):
        fit_guards([], [column("nothing")] * 60)


def test_too_few_pictures_are_an_error() -> None:
    with pytest.raises(ConfigError):
        fit_guards([NumberGuard()], pages([0.5] * 5))


def test_a_fitted_threshold_holds_for_its_guard_only() -> None:
    pages = [column("a dog")] * 30
    (profile,) = fit_guards([WordGuard("cat")], pages)
    judge = PassageJudge.fitted(WordGuard("cat"), profile)
    assert [one.unsafe for one in judge.judge(column("a cat"))] == [True]
    with pytest.raises(ConfigError, match="text_guard"):
        PassageJudge.fitted(WordGuard("dog"), profile)
