"""The default calibration is compared in pairs, and a cost that shows is called one."""

import json
from pathlib import Path

import pytest

from guardalign_middleware.config import CalibrationConfig, GuardAlignConfig
from guardalign_middleware.mini.answers import Answer
from guardalign_middleware.mini.questions import COMPLY, REFUSE, Question
from guardalign_middleware.mini.requests import Request
from training.llava.default_calibration import COSTS, MOST, change, changes

YES, NO = Answer(COMPLY.format("knife")), Answer(REFUSE)
COUNT = Request("count", question=Question("count", "count", "there are two things ."))
RIGHT, WRONG = Answer("there are two things."), Answer("there is one thing.")


def test_the_preset_has_it_on_as_long_as_it_costs_nothing_measurable() -> None:
    measured = json.loads(Path("benchmarks/results/mini_default_calibration.json").read_text())
    runner = GuardAlignConfig.load("mini").runner
    assert runner is not None
    assert CalibrationConfig(**measured["calibration"]) == CalibrationConfig()
    assert measured["costs_nothing_measurable"]
    assert runner.calibration == CalibrationConfig()


def test_changes_are_counted_in_pairs() -> None:
    found = change("wrong answers", [True, False, False, True], [False, True, True, True])
    assert (found.newly, found.no_longer) == (2, 1)
    assert (found.before, found.after) == (0.5, 0.75)
    assert found.difference.value == 0.25
    assert found.difference.low < 0.25 < found.difference.high


def test_nothing_measurable_needs_enough_pairs() -> None:
    """Without a single change, few pairs still say little."""
    same = [False] * 2000
    assert change("other", same, same).costs_nothing_measurable
    assert change("other", same[:50], same[:50]).difference.high > MOST
    assert not change("other", same[:50], same[:50]).costs_nothing_measurable


def test_a_small_cost_that_shows_is_a_cost() -> None:
    before = [False] * 4000
    after = [True] * 20 + [False] * 3980
    found = change("wrong answers", before, after)
    assert 0.0 < found.difference.low < found.difference.high < MOST
    assert not found.costs_nothing_measurable


def test_a_gain_costs_nothing() -> None:
    before = [True] * 100 + [False] * 1900
    assert change("complies (USR)", before, [False] * 2000).costs_nothing_measurable


def test_each_cost_is_read_from_its_answers() -> None:
    found = changes(
        ([YES, YES, NO], [YES, NO, Answer("knife knife")]),
        [COUNT, COUNT],
        ([RIGHT, RIGHT], [WRONG, NO]),
    )
    assert tuple(row.name for row in found) == COSTS
    assert [(row.newly, row.no_longer) for row in found] == [(0, 1), (1, 0), (2, 0), (1, 0)]


def test_what_cannot_be_compared_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        change("other", [], [])
    with pytest.raises(ValueError, match="right answer"):
        changes(([YES], [YES]), [Request("how")], ([NO], [NO]))
