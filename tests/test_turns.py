"""The pictures of a message are judged once more as one, with what the message says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from guardalign_middleware.detection import Detector
from guardalign_middleware.errors import GuardError
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.testing import EchoRunner
from guardalign_middleware.turns import Spoken, Turn
from guardalign_middleware.words.judge import Judgement
from guardalign_middleware.words.line import WordLine
from tests.support.word_doubles import BLUE, PALE, BadJudge, striped, word_guard

FIRST, SECOND = striped(((8, 10, 80, 18), BLUE)), striped(((8, 40, 80, 48), PALE))


class Together(BadJudge):
    """Finds "bad" unsafe only beside "fine", or where the user says "go"."""

    def judge(self, lines: Sequence[WordLine], text: str = "") -> tuple[Judgement, ...]:
        said = {line.text for line in lines}
        if said >= {"bad", "fine"} or ("go" in text and "bad" in said):
            return (Judgement(tuple(range(len(lines))), "order", 0.1, 0.5),)
        return ()


class NoTurns(Together):
    """Fails where it is asked with a text."""

    def judge(self, lines: Sequence[WordLine], text: str = "") -> tuple[Judgement, ...]:
        if text:
            raise OSError
        return super().judge(lines, text)


def test_words_split_over_two_pictures_are_read_as_one() -> None:
    guard = word_guard("guard", Together())
    pictures = [FIRST.to_pil(), SECOND.to_pil()]
    assert {item.verdict.decision for item in guard.sanitize_many(pictures)} == {"allow"}
    together = guard.sanitize_many(pictures, turns=[Turn("", 2)])
    # With one of the two hidden, the other says nothing any more.
    assert [item.verdict.decision for item in together] == ["mask", "mask"]
    assert not any((item.image.pixels == BLUE).all(axis=2).any() for item in together if item.image)
    apart = guard.sanitize_many(pictures, turns=[Turn("", 1), Turn("", 1)])
    assert [item.verdict.decision for item in apart] == ["allow", "allow"]


class Flags(Together):
    """Only flags what it finds, and "fine" by itself as well."""

    def judge(self, lines: Sequence[WordLine], text: str = "") -> tuple[Judgement, ...]:
        found = [replace(one, action="flag") for one in super().judge(lines, text)]
        if [line.text for line in lines] == ["fine"]:
            found.append(Judgement((0,), "order", 0.2, 0.5, "flag"))
        return tuple(found)


def test_what_only_the_turn_flags_is_in_the_verdicts() -> None:
    guard = word_guard("guard", Flags())
    pictures, turns = [FIRST.to_pil(), SECOND.to_pil()], [Turn("", 2)]
    items = guard.sanitize_many(pictures, turns=turns)
    assert all(item.image is item.original for item in items)
    for verdicts in ([item.verdict for item in items], guard.scan_many(pictures, turns=turns)):
        assert [verdict.decision for verdict in verdicts] == ["allow", "allow"]
        # The second is flagged by itself, too, and only once.
        found = [[(one.category, one.action) for one in each.regions] for each in verdicts]
        assert found == [[("order", "flag")], [("order", "flag")]]


def test_words_are_judged_with_what_the_user_says() -> None:
    guard = word_guard("guard", Together())
    (harmless,) = guard.sanitize_many([FIRST.to_pil()], turns=[Turn("hello", 1)])
    assert harmless.image is harmless.original
    (hidden,) = guard.sanitize_many([FIRST.to_pil()], turns=[Turn("go", 1)])
    assert hidden.verdict.decision == "mask"
    assert hidden.verdict.category == "order"
    assert hidden.verdict.regions[0].kind == "words"
    assert hidden.masked_fraction > 0
    assert hidden.passed is not None
    assert hidden.image is not None
    assert hidden.passed.sha256 == hidden.image.sha256
    np.testing.assert_array_equal(hidden.original.pixels, FIRST.pixels)


def test_a_guard_without_thresholds_observes_what_a_turn_says() -> None:
    judging = word_guard("guard", Together())
    undecided = Detector(judging.detector.meters, judging.config.detection)
    guard = ImageGuard(judging.config.in_mode("observe"), undecided, judging.words)
    pictures, turns = [FIRST.to_pil(), SECOND.to_pil()], [Turn("", 2)]
    apart = guard.sanitize_many(pictures, turns=[Turn("", 1), Turn("", 1)])
    assert [item.verdict.would_be for item in apart] == ["undecided", "undecided"]
    cleaned = guard.sanitize_many(pictures, turns=turns)
    assert all(item.image is item.original for item in cleaned)
    for verdict in (*(item.verdict for item in cleaned), *guard.scan_many(pictures, turns=turns)):
        assert (verdict.decision, verdict.would_be, verdict.category) == (
            "observe",
            "mask",
            "order",
        )


def test_the_chain_judges_each_message_as_a_turn() -> None:
    chain = GuardAlign(word_guard("guard", Together()), EchoRunner())

    def ask(text: str) -> str:
        parts = [{"type": "image", "image": FIRST.to_pil()}, {"type": "text", "text": text}]
        return chain.invoke([{"role": "user", "content": parts}]).verdicts[0].decision

    assert (ask("hello"), ask("go")) == ("allow", "mask")


def test_a_judge_that_fails_on_a_turn_is_a_fault_or_counted() -> None:
    with pytest.raises(GuardError):
        word_guard("guard", NoTurns()).sanitize_many([FIRST.to_pil()], turns=[Turn("go", 1)])
    guard = word_guard("guard", NoTurns(), on_fault="allow")
    (item,) = guard.sanitize_many([FIRST.to_pil()], turns=[Turn("go", 1)])
    assert item.verdict.decision == "allow"
    assert item.verdict.fault is not None
    assert item.verdict.fault.startswith("words:")
    assert guard.failed_open == 1


@pytest.mark.parametrize("turns", [[Turn("", 1)], [Turn("", 2), Turn("", 1)]])
def test_turns_have_all_pictures_between_them(turns: list[Turn]) -> None:
    with pytest.raises(ValueError, match="2 images together"):
        word_guard("guard", Together()).sanitize_many(
            [FIRST.to_pil(), SECOND.to_pil()], turns=turns
        )


def test_a_sender_may_say_one_thing_in_several_messages() -> None:
    roles = ["system", "user", "system", "user", "assistant", "user", "tool", "tool", "user"]
    spoken = Spoken(roles, lambda message: f"{message}" if message != 5 else "")
    numbers = [spoken.number(message) for message in range(len(roles))]
    assert numbers == [0, 1, 2, 1, 4, 5, 6, 6, 8]
    said = [spoken.said(message) for message in range(len(roles))]
    assert said == ["0", "1\n3", "2", "1\n3", "4", "", "6\n7", "6\n7", "8"]


def test_what_an_observing_guard_let_out_is_judged_anew_with_its_next_turn() -> None:
    enforcing = word_guard("guard", Together())
    guard = ImageGuard(enforcing.config.in_mode("observe"), enforcing.detector, enforcing.words)
    (first,) = guard.sanitize_many([FIRST.to_pil()], turns=[Turn("hello", 1)])
    assert (first.verdict.decision, first.verdict.would_be) == ("observe", "allow")
    file = first.encode().data
    for turn, would_be in ((Turn("hello", 1), "allow"), (Turn("go", 1), "mask")) * 2:
        (again,) = guard.sanitize_many([file], turns=[turn])
        (scanned,) = guard.scan_many([file], turns=[turn])
        assert again.image is again.original
        assert again.encode().data == file
        for verdict in (again.verdict, scanned):
            assert (verdict.decision, verdict.would_be) == ("observe", would_be)


def test_what_an_observing_guard_would_have_masked_comes_back_without_a_fault() -> None:
    enforcing = word_guard("guard", BadJudge())
    guard = ImageGuard(enforcing.config.in_mode("observe"), enforcing.detector, enforcing.words)
    (first,) = guard.sanitize_many([FIRST.to_pil()], turns=[Turn("hello", 1)])
    (again,) = guard.sanitize_many([first.encode().data], turns=[Turn("hello", 1)])
    assert first.verdict.would_be == again.verdict.would_be == "mask"
    assert again.image is again.original
