"""Attacks by scale and shape: the picture as a whole gets another size, aspect or border.

A model resizes what it gets to its own input, so to the model these pictures hardly differ. A
detector that looks at them in another form may find everything too large, too small, or out of
shape. No more is changed than the default intake accepts.
"""

from __future__ import annotations

import math

import numpy as np

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.evaluation.attacks.target import (
    Attack,
    Crops,
    Target,
    on_canvas,
    plain_colour,
    resized,
)
from guardalign_middleware.types import CanonicalImage

LIMITS = IntakePolicy()
"""What the default intake accepts; it refuses larger or narrower pictures."""


def rescaled(factor: float) -> Attack:
    """Resize the whole picture.

    Enlarged, each thing exceeds every crop of a fixed size, while the model makes it small again.
    Shrunk, it is below the smallest crop, while the model enlarges it.
    """

    def attack(target: Target, _: Crops, __: np.random.Generator) -> Target:
        return _resized_within_limits(target, factor, factor)

    return attack


def stretched(across: float, down: float) -> Attack:
    """Resize each side by a factor of its own.

    A model that squashes pictures to a square undoes this; a detector that keeps the aspect sees
    things out of shape.
    """

    def attack(target: Target, _: Crops, __: np.random.Generator) -> Target:
        return _resized_within_limits(target, across, down)

    return attack


def stretched_to_the_limit(*, wide: bool) -> Attack:
    """Stretch one side until the aspect is the widest that the intake accepts.

    The strongest form of `stretched`, and of a picture whose shorter side says nothing about the
    size of the things in it.
    """

    def attack(target: Target, _: Crops, __: np.random.Generator) -> Target:
        aspect = target.image.width / target.image.height
        factor = LIMITS.max_aspect / (aspect if wide else 1.0 / aspect)
        return _resized_within_limits(target, factor if wide else 1.0, 1.0 if wide else factor)

    return attack


def squashed(width: int, height: int) -> Attack:
    """Resize to a small picture of this size, whatever the aspect was.

    Small and out of shape at once: little is left for a detector to crop, and a model that squashes
    pictures sees nearly what it saw before.
    """

    def attack(target: Target, _: Crops, __: np.random.Generator) -> Target:
        return resized(target, width, height)

    return attack


def padded(share: float) -> Attack:
    """Add a plain border on all sides, this share of the picture's size.

    Wherever a whole picture is looked at in one piece, things get smaller.
    """

    def attack(target: Target, _: Crops, __: np.random.Generator) -> Target:
        width, height = target.image.width, target.image.height
        left, top = round(width * share), round(height * share)
        return on_canvas(target, width + 2 * left, height + 2 * top, left, top)

    return attack


def letterboxed(aspect: float) -> Attack:
    """Add plain bars on two sides, up to this width per height.

    A model that squashes pictures sees things narrowed, and smaller as well.
    """

    def attack(target: Target, _: Crops, __: np.random.Generator) -> Target:
        width, height = target.image.width, target.image.height
        wide = max(width, round(height * aspect))
        high = max(height, round(width / aspect))
        return on_canvas(target, wide, high, (wide - width) // 2, (high - height) // 2)

    return attack


def tiny(factor: float) -> Attack:
    """Shrink the picture and place it on a plain canvas of the old size.

    Things get smaller without a change that the picture's own size would show.
    """

    def attack(target: Target, _: Crops, rng: np.random.Generator) -> Target:
        width, height = target.image.width, target.image.height
        small = _resized_within_limits(target, factor, factor)
        left = int(rng.integers(0, width - small.image.width + 1))
        top = int(rng.integers(0, height - small.image.height + 1))
        return on_canvas(small, width, height, left, top)

    return attack


def in_a_strip(aspect: float) -> Attack:
    """Keep only the first thing, on a plain strip of this width per height.

    Crops as large as the shorter side are then tiny and many, and the thing is as high as the
    picture; a model that keeps the aspect, or cuts tiles, sees it plainly.
    """

    def attack(target: Target, _: Crops, rng: np.random.Generator) -> Target:
        x0, y0, x1, y1 = target.boxes[0]
        width = max(x1 - x0, round((y1 - y0) * aspect))
        left = int(rng.integers(0, width - (x1 - x0) + 1))
        pixels = np.empty((y1 - y0, width, 3), dtype=np.uint8)
        pixels[:] = plain_colour(target.image)
        pixels[:, left : left + x1 - x0] = target.image.pixels[y0:y1, x0:x1]
        return Target(CanonicalImage(pixels), ((left, 0, left + x1 - x0, y1 - y0),))

    return attack


def size_within_limits(width: float, height: float) -> tuple[int, int]:
    """The size in whole pixels, scaled back to the pixels that the default intake accepts.

    A side beyond its widest aspect is cut to it.
    """
    excess = width * height / LIMITS.max_pixels
    if excess > 1.0:
        width, height = width / math.sqrt(excess), height / math.sqrt(excess)
    # Rounded down, so that neither the pixels nor the aspect exceed the limits.
    whole = [max(1, math.floor(side)) for side in (width, height)]
    longest = math.floor(min(whole) * LIMITS.max_aspect)
    return min(whole[0], longest), min(whole[1], longest)


def _resized_within_limits(target: Target, across: float, down: float) -> Target:
    size = size_within_limits(target.image.width * across, target.image.height * down)
    return resized(target, *size)
