from __future__ import annotations

from collections.abc import Sequence

import pytest

from guardalign_middleware.errors import GuardError
from guardalign_middleware.words.guards.guard import Assessment
from guardalign_middleware.words.guards.passage_judge import PassageJudge
from guardalign_middleware.words.judge import LineJudge
from tests.support.words import WordGuard, column

PAGE = [*column("a cat", "and a dog"), *column("a cow", y=400)]


def unsafe_lines(judge: PassageJudge, text: str = "") -> list[tuple[int, ...]]:
    return [one.lines for one in judge.judge(PAGE, text) if one.unsafe]


def test_the_unsafe_passage_is_named_and_not_the_page() -> None:
    judge: LineJudge = PassageJudge(WordGuard("cat"), 0.5)
    assert [one.lines for one in judge.judge(PAGE) if one.unsafe] == [(0, 1)]


def test_words_that_are_unsafe_only_together_are_found() -> None:
    assert unsafe_lines(PassageJudge(WordGuard("dog", "cow"), 0.5)) == [(0, 1, 2)]


def test_words_that_are_unsafe_only_with_the_users_are_found() -> None:
    judge = PassageJudge(WordGuard("cow", "feed"), 0.5)
    assert unsafe_lines(judge) == []
    assert unsafe_lines(judge, "feed it") == [(0, 1, 2)]


def test_what_the_user_says_alone_is_no_reason_to_hide_the_picture() -> None:
    judge = PassageJudge(WordGuard("murder"), 0.5)
    assert unsafe_lines(judge, "murder") == []


def test_the_users_words_can_be_left_out() -> None:
    judge = PassageJudge(WordGuard("cow", "feed"), 0.5, with_user_text=False)
    assert unsafe_lines(judge, "feed it") == []
    assert judge.fingerprint != PassageJudge(WordGuard("cow", "feed"), 0.5).fingerprint


def test_what_the_user_says_is_asked_about_once_for_all_pictures() -> None:
    guard = WordGuard("cow", "feed")
    judge = PassageJudge(guard, 0.5)
    assert unsafe_lines(judge, "feed it") == [(0, 1, 2)]
    assert any(one.unsafe for one in judge.judge(column("another cow"), "feed it"))
    assert not any(one.unsafe for one in judge.judge(column("a hen"), "feed it"))
    # Unsafe by itself, it is no reason to hide the next picture either.
    for _ in range(2):
        assert not any(one.unsafe for one in judge.judge(column("a hen"), "feed the cow"))
    asked = [text for texts in guard.asked for text in texts]
    assert asked.count("feed it") == asked.count("feed the cow") == 1


def test_a_picture_without_words_is_not_asked_about() -> None:
    guard = WordGuard("cat")
    assert PassageJudge(guard, 0.5).judge([], "cat") == ()
    assert guard.asked == []


def test_what_is_unknown_gets_no_judgement() -> None:
    class Clueless(WordGuard):
        def assess(self, texts: Sequence[str]) -> tuple[Assessment, ...]:
            return tuple(Assessment.of_unknown("no word is known") for _ in texts)

    assert PassageJudge(Clueless(), 1e300).judge(PAGE, "cow") == ()


@pytest.mark.parametrize("answers", [0, 1, 4])
def test_another_number_of_answers_is_a_fault(answers: int) -> None:
    class Short(WordGuard):
        def assess(self, texts: Sequence[str]) -> tuple[Assessment, ...]:
            return (Assessment("bad", 1.0),) * answers

    with pytest.raises(GuardError, match="answers"):
        PassageJudge(Short(), 0.5).judge(PAGE)


def test_a_category_can_have_an_action_of_its_own() -> None:
    judge = PassageJudge(WordGuard("cat"), 0.5, action="flag", actions={"bad": "block"})
    assert {one.action for one in judge.judge(PAGE)} == {"block"}
    assert judge.fingerprint != PassageJudge(WordGuard("cat"), 0.5).fingerprint


def test_nan_is_no_threshold_and_no_distance() -> None:
    with pytest.raises(ValueError, match="NaN"):
        PassageJudge(WordGuard("cat"), float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        Assessment("bad", float("nan"))
