"""What can be made out in small pictures of unsafe ones."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from guardalign_middleware.canonical import Pixels
from guardalign_middleware.testing import BOX, picture
from guardalign_middleware.thumbnails import covered_thumbnail, thumbnail
from guardalign_middleware.types import Box

RED = picture(red=True).pixels


def shown(url: str) -> Pixels:
    data = base64.b64decode(url.removeprefix("data:image/webp;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def shows_red(url: str) -> bool:
    pixels = shown(url)
    return bool(np.any((pixels[..., 0] > 150) & (pixels[..., 1] < 90)))


def letters(width: int, height: int) -> Pixels:
    """Strokes of four pixels, in black on white."""
    pixels = np.full((height, width, 3), 255, dtype=np.uint8)
    pixels[:, np.arange(width) // 4 % 2 == 0] = 0
    return pixels


def test_a_box_is_covered_with_a_margin_and_the_rest_is_seen() -> None:
    before = RED.copy()
    url = covered_thumbnail(RED, [BOX])
    assert not shows_red(url)
    assert shown(url)[2, 2, 2] > 200
    assert (before == RED).all()


@pytest.mark.parametrize("boxes", [[], [(70, 70, 90, 90)], [(8, 8, 8, 8)]])
def test_without_a_place_that_is_covered_nothing_can_be_made_out(boxes: list[Box]) -> None:
    url = covered_thumbnail(letters(64, 64), boxes)
    assert int(np.ptp(shown(url))) < 140
    assert int(np.ptp(shown(thumbnail(Image.fromarray(letters(64, 64)))))) > 220


@pytest.mark.parametrize("size", [(1000, 400), (300, 2000), (64, 64), (3, 2), (1, 900)])
def test_coarse_squares_are_as_large_as_the_picture_would_be(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    coarse, plain = shown(covered_thumbnail(pixels, [])), thumbnail(Image.fromarray(pixels))
    assert coarse.shape == shown(plain).shape
    assert max(coarse.shape) <= 220
