from __future__ import annotations

import pytest

from training.words.near_copies import NearCopies

TEXT = "The Pallets organization develops and supports Flask and other popular packages."


@pytest.mark.parametrize(
    ("text", "near"),
    [
        (TEXT, True),
        (TEXT.upper().replace(".", "!"), True),
        (TEXT.replace("popular", "many"), True),
        (TEXT.replace("Flask", "Jinja").replace("popular", "many"), False),
        ("Another organization develops something else, and supports it.", False),
        ("Flask", False),
        ("...", False),
    ],
)
def test_a_word_changed_is_a_near_copy_and_another_text_is_none(text: str, near: bool) -> None:
    assert NearCopies(["Something before it.", TEXT]).has(text) is near


def test_short_texts_are_copies_only_if_equal() -> None:
    known = NearCopies(["Add item", "___"])
    assert known.has("add ITEM.")
    assert not known.has("add")
    assert not known.has("___")
