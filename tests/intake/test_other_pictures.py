"""Pictures in formats that no model takes are known in a cell, and numbers and texts are not."""

from __future__ import annotations

import random
from io import BytesIO

import pytest
from PIL import Image

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.intake.other_pictures import is_picture_file
from guardalign_middleware.testing.pdf import drawn_pdf

POLICY = IntakePolicy()
PICTURE = Image.new("RGB", (64, 64), "red")
FORMATS = ["BMP", "DDS", "GIF", "ICNS", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TIFF"]


def saved(name: str) -> bytes:
    file = BytesIO()
    PICTURE.save(file, name)
    return file.getvalue()


@pytest.mark.parametrize("name", FORMATS)
def test_a_picture_is_one(name: str) -> None:
    Image.init()
    if name not in Image.SAVE:
        pytest.skip("this Pillow does not write it")
    assert is_picture_file(saved(name), POLICY)


@pytest.mark.parametrize(
    "data",
    [
        b"P1\n# a comment\n2 2\n0 1\n1 0\n",
        b"P2 2 1 255\n0 255\n",
        b"P4\n9 2\n\xff\xff\0\0",
        b"v/1\x01\x02\0\0\0",
        b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n",
        b"8BPS\0\1",
        b"\n" + drawn_pdf(b""),
    ],
)
def test_so_is_what_pillow_does_not_write(data: bytes) -> None:
    assert is_picture_file(data, POLICY)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"P1 1 9 is a form",
        b"P4 100 100 bytes",
        b"P5 10 20 30 units",
        b"P6 4 4 255 cut off",
        b"%PDF-1.7 is how it begins",
        b"DDS is a dentist",
        b"icns",
        b"qoif and others",
        b"".join(number.to_bytes(4, "little") for number in (65_536, 1, 2, 3, 4, 22, 6, 7)),
    ],
)
def test_texts_and_numbers_are_none(data: bytes) -> None:
    assert not is_picture_file(data, POLICY)


def test_vectors_are_none() -> None:
    drawn = random.Random(7)
    for magic in (b"\xff\x0a", b"\0\0\1\0"):
        assert not any(is_picture_file(magic + drawn.randbytes(60), POLICY) for _ in range(2_000))
