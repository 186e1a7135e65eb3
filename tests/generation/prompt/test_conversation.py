"""Placement of the prefix and neutralising of foreign text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.errors import ConfigError, MessageError
from guardalign_middleware.generation.prompt.conversation import (
    MARKED,
    SENTINELS,
    build_conversation,
    check_prefix,
    instruction_message,
    neutralise,
)
from guardalign_middleware.types import Message, TextPart
from tests.generation.conftest import picture, user

TOKENS = ("<image>", "<s>", "</s>", "<|im_start|>", "[INST]", "§")
PIECES = st.sampled_from([*TOKENS, "<", "<im", "age>", "<i<image>mage>", "|", "s>", "hi ", "犬"])


@given(st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join))
def test_no_control_token_survives(text: str) -> None:
    free = neutralise(text, TOKENS)
    assert not any(token in free for token in TOKENS)
    assert not SENTINELS & set(free)
    assert neutralise(free, TOKENS) == free


@given(st.text(alphabet=st.characters(exclude_characters="§<[" + "".join(SENTINELS))))
def test_ordinary_text_is_untouched(text: str) -> None:
    assert neutralise(text, TOKENS) == text


def test_neutralised_text_stays_readable() -> None:
    assert neutralise("see <image> here", TOKENS) == "see < image> here"


def test_marks_in_user_text_are_replaced() -> None:
    assert neutralise(f"a{MARKED.prefix_open}b", ()) == "a\ufffdb"


@pytest.mark.parametrize("text", ["", "  \n", "Be safe <image>", f"a{MARKED.prefix_close}"])
def test_bad_prefix_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        check_prefix(text, TOKENS)


def test_prefix_stands_on_lines_of_its_own_before_the_first_text_of_the_last_user_turn() -> None:
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


def test_marks_hug_the_words_so_that_trimming_templates_see_no_difference() -> None:
    built = build_conversation(
        [user("  hi \n")],
        prefix="SAFE",
        placement="system",
        control_tokens=(),
        marks=MARKED,
    )
    text = built[1]["content"][0]["text"]
    assert text == f"  {MARKED.instruction_open}hi{MARKED.instruction_close} \n"


def test_the_last_user_message_is_the_instruction() -> None:
    tool = Message("tool", (TextPart("42"),))
    assert instruction_message([user("a"), user("b"), tool]) == 1


@pytest.mark.parametrize("rows", [[], [Message("system", (TextPart("x"),))]])
def test_without_a_user_message_there_is_an_error(rows: list[Message]) -> None:
    with pytest.raises(MessageError, match="role 'user'"):
        instruction_message(rows)
