"""Where the safety prefix is placed, and what the instruction is."""

from __future__ import annotations

import pytest

from guardalign_middleware.errors import ConfigError, MessageError
from guardalign_middleware.generation.prompt.conversation import (
    build_conversation,
    check_prefix,
    instruction_index,
)
from guardalign_middleware.generation.prompt.span_marks import MARKS
from guardalign_middleware.types import Message, TextPart
from tests.support.messages import picture, user

TOKENS = ("<image>", "<s>")


@pytest.mark.parametrize("text", ["", "  \n", "Be safe <image>", f"a{MARKS.prefix_close}"])
def test_bad_prefix_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        check_prefix(text, TOKENS)


def test_the_prefix_has_its_own_lines_before_the_first_text_of_the_last_user_turn() -> None:
    rows = [user("old"), Message("assistant", (TextPart("yes"),)), user(picture(), "a", "b")]
    built = build_conversation(
        rows, prefix="SAFE", placement="before_instruction", control_tokens=TOKENS
    )
    assert built[0]["content"] == [{"type": "text", "text": "old"}]
    assert built[2]["content"] == [
        {"type": "image"},
        {"type": "text", "text": "\nSAFE\na"},
        {"type": "text", "text": "b"},
    ]


def test_prefix_follows_the_image_when_there_is_no_text() -> None:
    built = build_conversation(
        [user(picture())], prefix="SAFE", placement="before_instruction", control_tokens=()
    )
    assert built[0]["content"] == [{"type": "image"}, {"type": "text", "text": "\nSAFE\n"}]


@pytest.mark.parametrize("with_system", [True, False])
def test_prefix_in_the_system_message(with_system: bool) -> None:
    rows = [Message("system", (TextPart("Be kind."),))] if with_system else []
    built = build_conversation(
        [*rows, user("hi")], prefix="SAFE", placement="system", control_tokens=()
    )
    assert [turn["role"] for turn in built] == ["system", "user"]
    assert "SAFE" in built[0]["content"][-1]["text"]
    assert built[1]["content"] == [{"type": "text", "text": "hi"}]


def test_marks_are_next_to_the_words_so_a_template_that_strips_sees_no_difference() -> None:
    built = build_conversation(
        [user("  hi \n")],
        prefix="SAFE",
        placement="system",
        control_tokens=(),
        marks=MARKS,
    )
    text = built[1]["content"][0]["text"]
    assert text == f"  {MARKS.instruction_open}hi{MARKS.instruction_close} \n"


def test_the_last_user_message_is_the_instruction() -> None:
    tool = Message("tool", (TextPart("42"),))
    assert instruction_index([user("a"), user("b"), tool]) == 1


@pytest.mark.parametrize("rows", [[], [Message("system", (TextPart("x"),))]])
def test_without_a_user_message_there_is_an_error(rows: list[Message]) -> None:
    with pytest.raises(MessageError, match="role 'user'"):
        instruction_index(rows)
