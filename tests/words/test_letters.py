"""Letters that stand for Latin ones, among all that the reader can spell."""

from __future__ import annotations

import unicodedata

import pytest

from guardalign_middleware.words.letters import LATIN, LOOK_ALIKES
from guardalign_middleware.words.models import shared_models
from guardalign_middleware.words.plain import plain


def letters(script: str) -> list[str]:
    """The letters of a script that the reader can spell."""
    return [
        one
        for one in shared_models(1).characters
        if len(one) == 1 and one.isalpha() and unicodedata.name(one, "").startswith(script)
    ]


@pytest.mark.parametrize("script", ["LATIN", "GREEK"])
def test_every_letter_that_the_reader_can_spell_is_latin_in_a_latin_word(script: str) -> None:
    known = letters(script)
    assert len(known) > 50
    assert [one for one in known if not plain(f"xx{one}xx").isascii()] == []


@pytest.mark.parametrize(
    ("letter", "latin"),
    [("ø", "o"), ("ł", "l"), ("đ", "d"), ("ħ", "h"), ("ɢ", "g"), ("ɪ", "i"), ("ǝ", "e"),
     ("Ŀ", "l"), ("ŋ", "n"), ("ɑ", "a"), ("œ", "oe"), ("ᴀ", "a"), ("ß", "ss"), ("þ", "p")],
)  # fmt: skip
def test_a_latin_letter_becomes_the_one_that_it_looks_like(letter: str, latin: str) -> None:
    assert plain(letter) == latin


def test_accents_are_resolved_as_they_were() -> None:
    accented = [one for one in letters("LATIN") if unicodedata.decomposition(one)[:1].isdigit()]
    for one in accented:
        base = unicodedata.normalize("NFKD", one)[0].casefold()
        if base.isascii():
            assert plain(one) == base


def test_what_stands_for_a_letter_is_in_lower_case() -> None:
    for latin in (*LATIN.values(), *map(chr, LOOK_ALIKES.values())):
        assert latin.isascii()
        assert latin == latin.lower()
