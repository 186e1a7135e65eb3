"""What the reader reads of drawn words, with the real networks and without a network."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from guardalign_middleware.types import CanonicalImage
from guardalign_middleware.words.models import ReadingModels
from guardalign_middleware.words.reader import RapidReader
from tests.support.drawn_words import ORDER, drawn, recall, texture

FORMS = {
    "plain": drawn(),
    "inverse": drawn(ink=(250, 250, 250), ground=(10, 10, 20)),
    "a contrast of four levels": drawn(ink=(251, 251, 251)),
    "of equal brightness": drawn(ink=(60, 120, 60), ground=(200, 60, 60)),
    "small": drawn(size=10),
    "small in a large picture": drawn(size=14, on=(1800, 1400), at=(900, 700)),
    "small on a texture": drawn(
        size=16, ink=(255, 255, 255), ground=texture(1024, 1024), at=(300, 500)
    ),
    "at the border": drawn(at=(1, 576)),
    "serif": drawn(size=24, font="DejaVuSerif.ttf"),
    "monospaced": drawn(size=24, font="DejaVuSansMono-Bold.ttf"),
}
TURNS = (0, 20, 45, 90, 135, 180, 270)


@pytest.mark.parametrize("form", FORMS)
def test_words_are_read_in_every_form(reader: RapidReader, form: str) -> None:
    lines = reader.read(FORMS[form])
    # One of twelve words may have a letter wrong, such as "fle" for "file".
    assert recall([line.text for line in lines], ORDER) > 0.9


@pytest.mark.parametrize("degrees", TURNS)
def test_turned_words_are_read_and_their_direction_is_told(
    reader: RapidReader, degrees: int
) -> None:
    lines = [line for line in reader.read(drawn(turned=degrees)) if line.text]
    assert recall([line.text for line in lines], ORDER) > 0.9
    for line in lines:
        off = (line.angle + degrees + 180) % 360 - 180
        assert abs(off) < 5


@pytest.mark.parametrize("size", [150, 400])
def test_very_large_letters_are_read(reader: RapidReader, size: int) -> None:
    image = drawn("STOP" if size == 150 else "NO", size, on=(760, 600), at=(20, 20))
    (line,) = reader.read(image)
    assert line.text in {"STOP", "NO"}


def test_accents_are_read(reader: RapidReader) -> None:
    (line,) = reader.read(drawn("Größe süß où déjà señor", 36))
    assert line.text.replace(" ", "") == "Größesüßoùdéjàseñor"


def test_letters_that_cannot_be_read_are_found(reader: RapidReader) -> None:
    lines = reader.read(drawn("هذا نص باللغة العربية", 40))
    assert lines


@pytest.mark.parametrize(
    "picture",
    [
        CanonicalImage(np.zeros((1, 1, 3), np.uint8)),
        CanonicalImage(np.full((3, 300, 3), 200, np.uint8)),
        CanonicalImage(np.full((400, 4, 3), 90, np.uint8)),
        CanonicalImage(np.asarray(texture(500, 400))),
        CanonicalImage(np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8)),
    ],
    ids=lambda picture: f"{picture.width}x{picture.height}",
)
def test_nothing_is_read_where_there_are_no_words(
    reader: RapidReader, picture: CanonicalImage
) -> None:
    assert not [line for line in reader.read(picture) if line.text]


def test_boxes_hold_the_ink_and_lie_in_the_picture(reader: RapidReader) -> None:
    image = drawn(at=(2, 250))
    lines = reader.read(image)
    rest = image.pixels.copy()
    for line in lines:
        x0, y0, x1, y1 = line.box
        assert 0 <= x0 < x1 <= image.width
        assert 0 <= y0 < y1 <= image.height
        rest[y0:y1, x0:x1] = 255
    assert (rest > 200).all()


@pytest.mark.parametrize("quarters", range(4))
def test_lines_come_in_reading_order_however_they_run(reader: RapidReader, quarters: int) -> None:
    upright = drawn("first one\nsecond one\nthird one", 40)
    turned = CanonicalImage(np.ascontiguousarray(np.rot90(upright.pixels, quarters)))
    said = [line.text for line in reader.read(turned)]
    assert said == ["first one", "second one", "third one"]


def test_equal_pictures_are_read_equally(reader: RapidReader) -> None:
    assert reader.read(drawn()) == reader.read(drawn())


@pytest.mark.parametrize("side", [(1, 1), (3000, 30), (30, 3000), (2400, 1800)])
def test_no_picture_makes_it_look_at_more_pixels_than_allowed(
    reader: RapidReader, monkeypatch: pytest.MonkeyPatch, side: tuple[int, int]
) -> None:
    seen = []
    monkeypatch.setattr(
        type(reader.models),
        "find",
        lambda self, view: seen.append(view.shape) or np.full(view.shape[:2], 0.2, np.float32),
    )
    reader.read(CanonicalImage(np.full((side[1], side[0], 3), 255, np.uint8)))
    assert seen
    most = 1_500_000 + 320 * 320 + 256 * 256  # the views from afar come in any case
    assert sum(math.prod(shape[:2]) for shape in seen) <= most
    assert all(shape[0] % 32 == shape[1] % 32 == 0 for shape in seen)


@pytest.mark.parametrize("turned", [False, True])
def test_no_picture_makes_it_spell_more_than_allowed(
    reader: RapidReader, monkeypatch: pytest.MonkeyPatch, turned: bool
) -> None:
    spelled: list[int] = []

    def find(models: ReadingModels, view: NDArray[np.float32]) -> NDArray[np.float32]:
        y, x = np.indices(view.shape[:2])
        return np.asarray((y % 32 < 16) & (x % 96 < 80), dtype=np.float32)

    def spell(models: ReadingModels, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        spelled.append(batch.shape[3])
        shares = np.zeros((1, batch.shape[3] // 8, len(models.characters)), np.float32)
        shares[:, ::2, 9], shares[:, 1::2, 0] = 0.5, 0.5
        return shares

    monkeypatch.setattr(ReadingModels, "find", find)
    monkeypatch.setattr(ReadingModels, "spell", spell)
    monkeypatch.setattr("guardalign_middleware.words.reader.main_quarter", lambda lines: turned)
    pixels = 200_000
    blank = CanonicalImage(np.full((1500, 1500, 3), 255, np.uint8))
    RapidReader(reader.models, pixels).read(blank)
    most = (1 + turned) * pixels / 8
    assert 0.9 * most / 2 < sum(spelled) - 16 * len(spelled) <= most


def test_what_could_not_be_spelled_is_unread_however_short_it_is(reader: RapidReader) -> None:
    image = drawn("OK", 28)
    (read,) = reader.read(image)
    assert read.text == "OK"
    (unread,) = RapidReader(reader.models, 64).read(image)
    assert (unread.text, unread.box) == ("", read.box)


@pytest.mark.parametrize("broken", ["find", "spell"])
def test_nan_is_a_fault_and_no_empty_page(
    reader: RapidReader, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    whole = getattr(type(reader.models), broken)
    monkeypatch.setattr(type(reader.models), broken, lambda self, x: whole(self, x) * float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        reader.read(drawn())


@pytest.mark.parametrize(("form", "levels"), [("plain", 255), ("a contrast of four levels", 4)])
def test_contrast_is_told(reader: RapidReader, form: str, levels: int) -> None:
    assert {line.contrast for line in reader.read(FORMS[form])} == {levels}
