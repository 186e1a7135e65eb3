"""What is attacked, and the geometry that all attacks share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from guardalign_middleware.types import Box, CanonicalImage

Crops = Callable[[int, int], NDArray[np.int64]]
"""Boxes `[M, 4]` of a detector's smallest crops of a picture with this width and height."""


@dataclass(frozen=True, eq=False)
class Target:
    """A picture and the boxes of the unsafe things in it, at least one."""

    image: CanonicalImage
    boxes: tuple[Box, ...]


Attack = Callable[[Target, Crops, np.random.Generator], Target]
"""Takes a target, the crops of the attacked detector and a source of randomness.

Returns the changed picture with the boxes to which the things went.
"""


def picture_of(picture: Image.Image) -> CanonicalImage:
    """A Pillow picture as the guard takes it in."""
    return CanonicalImage(np.asarray(picture.convert("RGB")))


def plain_colour(image: CanonicalImage) -> NDArray[np.uint8]:
    """The median colour `[3]`, which looks like more of the background."""
    colour: NDArray[np.uint8] = np.median(image.pixels, axis=(0, 1)).astype(np.uint8)
    return colour


def resized(target: Target, width: int, height: int) -> Target:
    """The whole picture at another size; the aspect may change."""
    picture = target.image.to_pil().resize((width, height), Image.Resampling.BICUBIC)
    across, down = width / target.image.width, height / target.image.height
    return Target(picture_of(picture), tuple(scaled(box, across, down) for box in target.boxes))


def on_canvas(target: Target, width: int, height: int, left: int, top: int) -> Target:
    """The picture on a plain canvas of its median colour, at this place."""
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    pixels[:] = plain_colour(target.image)
    pixels[top : top + target.image.height, left : left + target.image.width] = target.image.pixels
    return Target(CanonicalImage(pixels), tuple(moved(box, left, top) for box in target.boxes))


def moved(box: Box, left: int, top: int) -> Box:
    """The box, shifted to the right and down."""
    return box[0] + left, box[1] + top, box[2] + left, box[3] + top


def scaled(box: Box, across: float, down: float) -> Box:
    """The box of a resized picture, at least one pixel wide and high."""
    x0, y0 = math.floor(box[0] * across), math.floor(box[1] * down)
    return x0, y0, max(x0 + 1, round(box[2] * across)), max(y0 + 1, round(box[3] * down))
