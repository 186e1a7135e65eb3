"""Geometry of boxes `(x0, y0, x1, y1)`: half-open, in pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.types import Box


def area(box: Box) -> int:
    """Number of pixels in the box."""
    return (box[2] - box[0]) * (box[3] - box[1])


def intersection(first: Box, second: Box) -> int:
    """Number of pixels in both boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0) * max(height, 0)


def grow(
    box: Box, width: int, height: int, share: float, of: Literal["longer", "shorter"] = "longer"
) -> Box:
    """The box with a margin on every side, clipped to a `width` × `height` image.

    The margin is this share of the box's longer or shorter side.
    """
    x0, y0, x1, y1 = box
    side = max if of == "longer" else min
    margin = math.ceil(share * side(x1 - x0, y1 - y0))
    return (
        max(x0 - margin, 0),
        max(y0 - margin, 0),
        min(x1 + margin, width),
        min(y1 + margin, height),
    )


def check_inside(boxes: Sequence[Box], width: int, height: int) -> None:
    """Reject boxes that are empty or leave a `width` × `height` image.

    Raises:
        ValueError: names the first such box.
    """
    for box in boxes:
        x0, y0, x1, y1 = box
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise ValueError(
                "a box should be (x0, y0, x1, y1) with 0 <= x0 < x1 <= width and "
                f"0 <= y0 < y1 <= height = {width}, {height}. Received {box}."
            )


def coverage(boxes: Sequence[Box], width: int, height: int) -> NDArray[np.bool_]:
    """Bool `[height, width]`: which pixels lie inside any box; overlaps count once."""
    covered = np.zeros((height, width), dtype=np.bool_)
    for x0, y0, x1, y1 in boxes:
        covered[y0:y1, x0:x1] = True
    return covered


def covered(box: Box, covers: Sequence[Box]) -> float:
    """Share of the box that lies under any of the covers, 0 to 1."""
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    moved = [
        (max(left - x0, 0), max(top - y0, 0), max(right - x0, 0), max(bottom - y0, 0))
        for left, top, right, bottom in covers
    ]
    return float(coverage(moved, width, height).mean())
