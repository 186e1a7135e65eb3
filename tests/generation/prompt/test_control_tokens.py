"""Breaking control tokens and span marks in foreign text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.errors import MessageError
from guardalign_middleware.generation.prompt.control_tokens import neutralise, neutralise_json
from guardalign_middleware.generation.prompt.span_marks import MARK_CHARACTERS, MARKS

TOKENS = ("<image>", "<s>", "</s>", "<|im_start|>", "[INST]", "§")
TEXT = st.characters(codec="utf-8")
PIECES = st.sampled_from([*TOKENS, "<", "<im", "age>", "<i<image>mage>", "|", "s>", "hi ", "犬"])


@given(st.lists(PIECES | st.text(TEXT, max_size=3), max_size=12).map("".join))
def test_no_control_token_survives(text: str) -> None:
    free = neutralise(text, TOKENS)
    assert not any(token in free for token in TOKENS)
    assert not MARK_CHARACTERS & set(free)
    assert neutralise(free, TOKENS) == free


@given(st.text(st.characters(codec="utf-8", exclude_characters="§<[" + "".join(MARK_CHARACTERS))))
def test_ordinary_text_is_untouched(text: str) -> None:
    assert neutralise(text, TOKENS) == text


def test_neutralised_text_stays_readable() -> None:
    assert neutralise("see <image> here", TOKENS) == "see < image> here"


@given(st.text(TEXT), st.characters(categories=["Cs"]), st.text(TEXT))
def test_half_of_a_surrogate_pair_is_an_error_of_the_message(
    before: str, half: str, after: str
) -> None:
    with pytest.raises(MessageError, match=f"character {len(before)}"):
        neutralise(before + half + after, TOKENS)


def test_marks_in_user_text_are_replaced() -> None:
    assert neutralise(f"a{MARKS.prefix_open}b", ()) == "a\ufffdb"


def test_every_string_of_a_json_value_is_neutralised() -> None:
    tool = {"name": "f<s>", "<image>": [1, None, ("[INST]", True)]}
    assert neutralise_json(tool, TOKENS) == {
        "name": "f< s>",
        "< image>": [1, None, ["[ INST]", True]],
    }
