"""Letters that stand far apart are read as the words they make."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from guardalign_middleware.types import CanonicalImage
from guardalign_middleware.words.find import FoundLine
from guardalign_middleware.words.letter_rows import with_joined_letters
from guardalign_middleware.words.look import ReadLine
from guardalign_middleware.words.reader import RapidReader
from guardalign_middleware.words.spell import Spelled


def _drawn(rows: Sequence[str], apart: float, size: int = 30) -> CanonicalImage:
    picture = Image.new("RGB", (720, 480), "white")
    pen, face = ImageDraw.Draw(picture), ImageFont.load_default(size)
    for number, row in enumerate(rows):
        x = 40.0
        for letter in row:
            pen.text((x, 40 + 1.6 * size * number), letter, fill="black", font=face)
            x += face.getlength(letter) + apart * size
    return CanonicalImage(np.asarray(picture))


def _read(text: str, x: float, y: float = 0.0, width: float = 20.0) -> ReadLine:
    corners = ((x, y), (x + width, y), (x + width, y + 20), (x, y + 20))
    return ReadLine(FoundLine(corners, width, 20, 20, 0.9), Spelled(text, 0.95))


@pytest.fixture
def spelled(monkeypatch: pytest.MonkeyPatch) -> list[FoundLine]:
    """The rows that are spelled, each as letters that stand apart."""
    seen: list[FoundLine] = []

    def spell(pixels: object, line: FoundLine, turned: int, models: object) -> Spelled:
        seen.append(line)
        return Spelled("row", 0.9, turned, spread=True)

    monkeypatch.setattr("guardalign_middleware.words.letter_rows.spell_turned", spell)
    return seen


def _joined(lines: Sequence[ReadLine]) -> list[str]:
    pixels = np.zeros((400, 400, 3), np.uint8)
    return [line.text for line in with_joined_letters(pixels, lines, None)]  # type: ignore[arg-type]


def test_letters_beside_each_other_are_a_row(spelled: list[FoundLine]) -> None:
    letters = [_read(letter, 50.0 * place) for place, letter in enumerate("word")]
    assert _joined([*letters, _read("1", 0, 90), _read("2", 0, 130)]) == ["1", "2", "row"]
    (row,) = spelled
    assert np.allclose(row.corners, [(0, 0), (170, 0), (170, 20), (0, 20)])


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [_read("1.", 0, 0), _read("2.", 0, 40), _read("3.", 0, 80)],
        [_read("a", 0), _read("b", 50)],
        [_read("a", 0), _read("b", 90), _read("c", 180)],
        [_read("a", 0), _read("b", 50, 12), _read("c", 100, 24)],
        [_read("short", 0, width=60), _read("words", 90, width=60), _read("here", 180, width=50)],
    ],
    ids=["none", "a list", "two", "too far", "not level", "words"],
)
def test_other_lines_are_none(spelled: list[FoundLine], lines: list[ReadLine]) -> None:
    assert _joined(lines) == [line.text for line in lines]
    assert not spelled


def test_a_row_that_reads_as_words_stays_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "guardalign_middleware.words.letter_rows.spell_turned",
        lambda *others: Spelled("no ok no", 0.99),
    )
    lines = [_read("no", 60.0 * place, width=40) for place in range(3)]
    assert _joined(lines) == ["no", "no", "no"]


def test_letters_far_apart_are_words(reader: RapidReader) -> None:
    rows = ["Steps to bake", "sour bread", "1.", "2.", "3."]
    said = [line.text for line in reader.read(_drawn(rows, 1.0))]
    assert [text.casefold() for text in said[:2]] == ["steps to bake", "sour bread"]
    assert [text[0] for text in said[2:]] == ["1", "2", "3"]


def test_a_table_of_short_words_stays_a_table(reader: RapidReader) -> None:
    cells = _drawn(["", ""], 0).pixels.copy()
    picture = Image.fromarray(cells)
    pen, face = ImageDraw.Draw(picture), ImageFont.load_default(30)
    for number, word in enumerate(["yes", "no", "yes", "no"]):
        pen.text((40 + 120 * number, 60), word, fill="black", font=face)
    said = [line.text for line in reader.read(CanonicalImage(np.asarray(picture)))]
    assert said == ["yes", "no", "yes", "no"]
