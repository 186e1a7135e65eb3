"""A written file counts as what was scanned only if it shows it, block by block."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from guardalign_middleware.likeness import BLOCK, MOST_DIFFERENCE, MOST_SHIFT, block_side, shows
from guardalign_middleware.testing.photos import file_of, photo

RNG = np.random.default_rng(1)


def as_png(pixels: np.ndarray) -> bytes:
    return file_of(Image.fromarray(pixels), "PNG")


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 120, dtype=np.uint8)


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP"])
@pytest.mark.parametrize("quality", [60, 75, 85, 95])
def test_a_photo_is_shown_when_it_is_encoded_again(image_format: str, quality: int) -> None:
    for size in ((480, 320), (321, 243)):
        first = file_of(photo(*size), image_format, quality=quality)
        with Image.open(io.BytesIO(first)) as picture:
            seen = picture.convert("RGB")
        again = file_of(seen, image_format, quality=quality)
        assert shows(again, image_format, np.asarray(seen))


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (40, 3), (64, 64), (97, 61), (300, 250)])
def test_the_same_pixels_are_shown(size: tuple[int, int]) -> None:
    pixels = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    assert shows(as_png(pixels), "PNG", pixels)
    assert not shows(as_png(255 - pixels), "PNG", pixels)


@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (150, 290), (280, 480)])
def test_one_block_of_one_channel_is_enough_to_differ(channel: int, top: int, left: int) -> None:
    scanned = grey(320, 512)
    noise = RNG.choice([-1, 1], (2 * BLOCK, 2 * BLOCK))
    place = (slice(top, top + 2 * BLOCK), slice(left, left + 2 * BLOCK), channel)
    size = scanned[place].shape
    for level, shown in ((MOST_DIFFERENCE - 1, True), (MOST_DIFFERENCE + 2, False)):
        changed = scanned.copy()
        changed[place] = 120 + level * noise[: size[0], : size[1]]
        assert shows(as_png(changed), "PNG", scanned) is shown


def test_what_shows_when_a_picture_is_made_smaller_counts_more() -> None:
    scanned = grey(320, 512)
    for level, shown in ((MOST_SHIFT, True), (MOST_SHIFT + 1, False), (-MOST_SHIFT - 1, False)):
        changed = scanned.copy()
        changed[100:200, 100:200] = 120 + level
        assert shows(as_png(changed), "PNG", scanned) is shown


def test_noise_of_colours_is_not_lost() -> None:
    pixels = RNG.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    assert not shows(file_of(picture, "JPEG", quality=95, subsampling=2), "JPEG", pixels)
    assert not shows(file_of(picture, "WEBP", quality=95), "WEBP", pixels)
    assert shows(file_of(picture, "JPEG", quality=90, subsampling=0), "JPEG", pixels)


def test_a_grey_file_shows_grey_pixels() -> None:
    pixels = np.repeat(np.asarray(photo(160, 120).convert("L"))[..., None], 3, axis=2)
    assert shows(file_of(Image.fromarray(pixels[..., 0]), "JPEG", quality=85), "JPEG", pixels)


def test_blocks_are_smaller_in_small_pictures() -> None:
    assert block_side(4000, 3000) == block_side(256, 256) == 32
    assert block_side(200, 4000) == 25
    assert block_side(64, 64) == block_side(1, 900) == 8
