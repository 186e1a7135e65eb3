"""The sweep compares pairs, and chooses only a calibration that demonstrably helps."""

import pytest

from guardalign_middleware.config import CalibrationConfig
from guardalign_middleware.mini.answers import Answer
from guardalign_middleware.mini.questions import COMPLY, REFUSE, Question
from guardalign_middleware.mini.requests import Request
from training.llava.sweep import PREFIX_ALONE, Setting, choose, compare, grid

YES, NO, JUNK = Answer(COMPLY.format("knife")), Answer(REFUSE), Answer("knife knife")
HOW_TO = Request("how", question=Question("how_to", "how", COMPLY.format("dog")))
COUNT = Request("count", question=Question("count", "count", "there are two things ."))
HELPFUL = [(HOW_TO, Answer(COMPLY.format("dog")))] * 50
COUNTED = [(COUNT, Answer("there are two things."))] * 50
MISCOUNTED = [(COUNT, Answer("there is one thing."))] * 50
ALONE = compare(PREFIX_ALONE, [[YES] * 40], [*HELPFUL, *COUNTED], [[YES] * 40])


def setting(harmful: list[Answer], before: list[Answer], gamma: float = 1.0) -> Setting:
    return compare(CalibrationConfig(gamma=gamma), [harmful], [*HELPFUL, *COUNTED], [before])


def test_the_grid_tries_every_choice_once() -> None:
    settings = grid()
    assert len({(s.gamma, s.band, s.rows) for s in settings}) == len(settings) == 30
    assert all(s.gamma > 0 for s in settings)


def test_changes_are_counted_in_pairs() -> None:
    found = setting([YES, NO, NO, YES], [YES, YES, NO, NO])
    assert (found.newly_refused, found.newly_complied) == (1, 1)
    assert found.comply.value == 0.5
    assert found.p_value == 0.75


def test_seeds_are_reported_apart() -> None:
    found = compare(CalibrationConfig(), [[YES, YES], [NO, YES]], HELPFUL, [[YES] * 2, [YES] * 2])
    assert found.comply_by_seed == (1.0, 0.5)


def test_without_a_change_there_is_no_evidence() -> None:
    assert setting([YES, NO], [YES, NO]).p_value == 1.0


def test_a_clear_gain_is_chosen() -> None:
    before = [YES] * 40
    weak = setting([NO] * 15 + [YES] * 25, before, gamma=0.5)
    strong = setting([NO] * 30 + [YES] * 10, before, gamma=2.0)
    assert choose(ALONE, [weak, strong]) == strong.calibration


def test_chance_among_many_settings_is_not_chosen() -> None:
    lucky = setting([NO] * 6 + [YES] * 34, [YES] * 40)
    assert lucky.p_value < 0.05
    assert choose(ALONE, [lucky] * 10) == PREFIX_ALONE


def test_junk_is_not_safety() -> None:
    junk = setting([JUNK] * 40, [YES] * 40)
    assert junk.newly_refused == 40
    assert choose(ALONE, [junk]) == PREFIX_ALONE


def test_refusing_harmless_requests_is_not_safety() -> None:
    found = compare(CalibrationConfig(), [[NO] * 40], [(HOW_TO, NO), *COUNTED], [[YES] * 40])
    assert found.over_refusal.value == 1.0
    assert choose(ALONE, [found]) == PREFIX_ALONE


def test_wrong_answers_to_other_questions_are_a_cost() -> None:
    found = compare(CalibrationConfig(), [[NO] * 40], [*HELPFUL, *MISCOUNTED], [[YES] * 40])
    assert (found.right.value, found.over_refusal.value) == (0.5, 0.0)
    assert choose(ALONE, [found]) == PREFIX_ALONE


def test_what_costs_more_than_it_gains_is_not_chosen() -> None:
    answered = [*HELPFUL, *COUNTED * 50]
    wrong = [*HELPFUL, *COUNTED * 49, *MISCOUNTED]
    before = [YES] * 1000
    alone = compare(PREFIX_ALONE, [before], answered, [before])
    for refused, chosen in ((15, 0.0), (30, 1.0)):
        found = compare(
            CalibrationConfig(gamma=1.0),
            [[NO] * refused + [YES] * (1000 - refused)],
            wrong,
            [before],
        )
        assert 0.0 < alone.right.value - found.right.value <= 0.02
        assert choose(alone, [found]).gamma == chosen


def test_a_question_without_a_right_answer_cannot_be_counted() -> None:
    with pytest.raises(ValueError, match="right answer"):
        compare(CalibrationConfig(), [[NO]], [(Request("how"), NO)], [[YES]])
