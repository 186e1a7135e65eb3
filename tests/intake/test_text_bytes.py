"""Texts in bytes: what is read, and how it is written again."""

from __future__ import annotations

import pytest

from guardalign_middleware.intake.text_bytes import read_text, write_text
from guardalign_middleware.testing import base64_png, picture

PAGE = f"caf\u00e9 <img src='data:image/png;base64,{base64_png(picture())}'>"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_a_page_is_read_in_each_encoding(encoding: str) -> None:
    data = PAGE.encode(encoding)
    found = read_text(data)
    assert found is not None
    text, name = found
    assert text.removeprefix("\ufeff") == PAGE
    assert text.encode(name) == data


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("first", ["\u4e2d", "\u4e2d\u6587", "\U0001f600", "\u0416", "a\u4e2d"])
def test_its_first_characters_can_be_of_any_alphabet(first: str, encoding: str) -> None:
    for page in (PAGE, PAGE.replace("\u00e9", "e")):
        assert read_text((first + page).encode(encoding)) == (first + page, encoding)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_half_a_character_hides_no_page(encoding: str) -> None:
    found = read_text(PAGE.encode(encoding) + b"\0")
    assert found is not None
    assert found[0].startswith(PAGE)


def test_a_nul_hides_no_page_in_latin_1() -> None:
    data = b"\0" + PAGE.encode("latin-1")
    assert read_text(data) == ("\0" + PAGE, "latin-1")


@pytest.mark.parametrize(
    "data", [b"\x00\x01\xd8\x00" * 9, "caf\u00e9".encode("latin-1"), b"\xff\xfe\x00"]
)
def test_other_bytes_are_no_text(data: bytes) -> None:
    assert read_text(data) is None


def test_words_in_utf_8_are_a_text_in_any_case() -> None:
    assert read_text(b"a\0b") == ("a\0b", "utf-8")
    assert read_text(b"") == ("", "utf-8")


def test_what_an_encoding_lacks_is_written_in_utf_8() -> None:
    assert write_text("caf\u00e9", "latin-1") == "caf\u00e9".encode("latin-1")
    assert write_text("\u753b\u50cf", "latin-1") == "\u753b\u50cf".encode()
    assert write_text("\ud83d", "utf-8") == b"?"
