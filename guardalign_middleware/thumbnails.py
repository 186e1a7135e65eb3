"""Small pictures for pages of HTML; what is unsafe cannot be made out in them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

from PIL import Image

from guardalign_middleware.boxes import coverage, grow
from guardalign_middleware.canonical import Pixels
from guardalign_middleware.types import Box

_SIDE = 220
_SQUARES = 10
_COVER = (96, 96, 96)
# Wider than a mask's: a thumbnail need not stay useful to a model.
_MARGIN = 0.3


def thumbnail(picture: Image.Image) -> str:
    """A picture as it is, made small, as a `data:` URL; the picture itself is not changed."""
    return _url(_within(picture, _SIDE))


def covered_thumbnail(pixels: Pixels, boxes: Sequence[Box]) -> str:
    """An unsafe picture made small, as a `data:` URL; the boxes are filled, and a margin around.

    Without boxes the picture is made of a few coarse squares: a picture that is unsafe has none
    where its regions could not be drawn.

    Args:
        pixels: uint8 `[H, W, 3]`; they are not changed.
        boxes: what may not be seen.
    """
    height, width = pixels.shape[:2]
    hidden = coverage([grow(box, width, height, _MARGIN) for box in boxes], width, height)
    if hidden.any():
        covered = pixels.copy()
        covered[hidden] = _COVER
        return thumbnail(Image.fromarray(covered))
    small = _within(Image.fromarray(pixels), _SIDE)
    return _url(_within(small, _SQUARES).resize(small.size, Image.Resampling.NEAREST))


def _within(picture: Image.Image, side: int) -> Image.Image:
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.BOX)
    return small


def _url(small: Image.Image) -> str:
    file = io.BytesIO()
    small.save(file, "WEBP", quality=70)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
