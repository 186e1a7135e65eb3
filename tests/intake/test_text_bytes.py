"""Texts in bytes: what is read, and how it is written again."""

from __future__ import annotations

import pytest

from guardalign_middleware.intake.text_bytes import read_text
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


@pytest.mark.parametrize(
    "data", [b"\x00\x01\xd8\x00" * 9, "caf\u00e9".encode("latin-1"), b"\xff\xfe\x00"]
)
def test_other_bytes_are_no_text(data: bytes) -> None:
    assert read_text(data) is None


def test_words_in_utf_8_are_a_text_in_any_case() -> None:
    assert read_text(b"a\0b") == ("a\0b", "utf-8")
    assert read_text(b"") == ("", "utf-8")
