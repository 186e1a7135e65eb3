"""What intake remembers of a file, so that the picture can leave about as large as it came."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.intake import load_frames, load_image
from guardalign_middleware.testing.photos import file_of, photo
from tests.support.hostile_jpegs import with_tables

WITH_AVIF = IntakePolicy(formats=("TIFF", "AVIF", "PNG", "GIF", "BMP"))


def test_the_tables_of_a_jpeg() -> None:
    file = file_of(photo(64, 48), "JPEG", quality=77, subsampling=1, progressive=True)
    known = load_image(file).encoding
    with Image.open(io.BytesIO(file)) as picture:
        assert known.quantization == tuple(map(tuple, picture.quantization.values()))
    assert (known.image_format, known.subsampling) == ("JPEG", 1)
    assert known.progressive
    assert not known.lossless
    assert not known.grey


@pytest.mark.parametrize("numbers", [(0, 1, 2), (1, 0, 2), (3, 2, 0)])
def test_the_tables_are_those_of_brightness_and_colours(numbers: tuple[int, ...]) -> None:
    tables = [[level] * 64 for level in (3, 40, 7)]
    for count in (1, 2, 3):
        file = with_tables(photo(64, 48), tables[:count], numbers)
        assert load_image(file).encoding.quantization == tuple(map(tuple, tables[:count]))


def test_the_tables_turn_with_the_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = file_of(photo(64, 48), "JPEG", quality=77, exif=exif)
    image = load_image(file)
    assert (image.width, image.height) == (48, 64)
    with Image.open(io.BytesIO(file)) as picture:
        table = np.array(picture.quantization[0]).reshape(8, 8)
    assert (np.array(image.encoding.quantization[0]).reshape(8, 8) == table.T).all()


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("extended", [True, False])
def test_the_kind_and_the_size_of_a_webp(lossless: bool, extended: bool) -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 5000
    options = {"exif": exif} if extended else {}
    file = file_of(photo(64, 48), "WEBP", lossless=lossless, **options)
    known = load_image(file).encoding
    assert known.lossless is lossless
    assert known.image_bytes <= len(file) - (5000 if extended else 12)


def test_an_animation_says_what_its_first_frame_is() -> None:
    frames = [photo(32, 32, seed) for seed in (1, 2)]
    file = file_of(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    first, second = load_frames(file, IntakePolicy(frames="scan_all"))
    assert first.encoding.lossless
    assert first.file is second.file is None


def test_a_webp_that_ends_early_says_nothing() -> None:
    from guardalign_middleware.intake.source_encoding import _webp

    file = file_of(photo(32, 32), "WEBP", lossless=True)
    for count in range(len(file)):
        _webp(file[:count])
    assert _webp(file[:12]) == (False, 12)


@pytest.mark.parametrize(
    ("image_format", "options", "lossless"),
    [
        ("TIFF", {}, True),
        ("TIFF", {"compression": "tiff_lzw"}, True),
        ("TIFF", {"compression": "jpeg"}, False),
        ("AVIF", {}, False),
        ("PNG", {}, True),
        ("BMP", {}, True),
        ("GIF", {}, True),
    ],
)
def test_which_files_held_their_pixels_exactly(
    image_format: str, options: dict[str, str], lossless: bool
) -> None:
    file = file_of(photo(64, 48), image_format, **options)
    image = load_image(file, WITH_AVIF)
    assert image.encoding.lossless is lossless
    assert image.file == file


def test_a_picture_from_no_file_has_no_encoding() -> None:
    image = load_image(photo(32, 32))
    assert image.encoding is None
    assert image.file is None
