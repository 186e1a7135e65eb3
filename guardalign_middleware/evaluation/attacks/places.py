"""Attacks by place: where a thing is, and how often."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.boxes import intersection
from guardalign_middleware.evaluation.attacks.target import Attack, Crops, Target, moved
from guardalign_middleware.types import Box, CanonicalImage

_OFFSETS = 8


def straddle(target: Target, crops: Crops, _: np.random.Generator) -> Target:
    """Shift the picture until every small crop holds as little of the first thing as possible.

    An attacker who knows the grid puts a thing where no crop shows all of it. Mirrored pixels are
    added at the left and the top. Of 8 × 8 offsets up to half of a smallest crop, the one that
    leaves the best small crop with the least of the thing is taken.
    """
    first = crops(target.image.width, target.image.height)
    sides = (first[:, 2:] - first[:, :2]).min(axis=0)
    across, down = (
        sorted({max(1, side // 2) * step // _OFFSETS for step in range(_OFFSETS)})
        for side in sides.tolist()
    )

    def most_seen(left: int, top: int) -> float:
        boxes = crops(target.image.width + left, target.image.height + top)
        return _largest_share(moved(target.boxes[0], left, top), boxes)

    left, top = min(((x, y) for x in across for y in down), key=lambda offset: most_seen(*offset))
    pixels = np.pad(target.image.pixels, ((top, 0), (left, 0), (0, 0)), mode="symmetric")
    return Target(CanonicalImage(pixels), tuple(moved(box, left, top) for box in target.boxes))


def copies(count: int) -> Attack:
    """Show the first thing `count` times more, elsewhere: all copies have to be found."""

    def attack(target: Target, _: Crops, rng: np.random.Generator) -> Target:
        x0, y0, x1, y1 = target.boxes[0]
        pixels, boxes = target.image.pixels.copy(), list(target.boxes)
        thing = target.image.pixels[y0:y1, x0:x1]
        for _try in range(50 * count):
            if len(boxes) == len(target.boxes) + count:
                break
            left = int(rng.integers(0, target.image.width - (x1 - x0) + 1))
            top = int(rng.integers(0, target.image.height - (y1 - y0) + 1))
            box = (left, top, left + x1 - x0, top + y1 - y0)
            if all(intersection(box, other) == 0 for other in boxes):
                pixels[top : box[3], left : box[2]] = thing
                boxes.append(box)
        return Target(CanonicalImage(pixels), tuple(boxes))

    return attack


def _largest_share(box: Box, crops: NDArray[np.int64]) -> float:
    width = np.minimum(crops[:, 2], box[2]) - np.maximum(crops[:, 0], box[0])
    height = np.minimum(crops[:, 3], box[3]) - np.maximum(crops[:, 1], box[1])
    return float((np.maximum(width, 0) * np.maximum(height, 0)).max())
