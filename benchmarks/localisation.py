"""Whether patch distances point at the unsafe thing: the pointing game and overlaps of boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.boxes import area, intersection
from guardalign_middleware.heat import stacked
from guardalign_middleware.types import Box


def hottest_point(boxes: NDArray[np.int64], distances: NDArray[np.float64]) -> tuple[int, int]:
    """The most unsafe pixel (x, y), without a threshold.

    The heat of a pixel is the mean of −distance over the smallest patches that contain it. Among
    equally hot pixels, the middle one is taken.

    Args:
        boxes: int64 `[M, 4]`.
        distances: float64 `[M]`; low = unsafe.

    Raises:
        ValueError: there are no patches, or the numbers of boxes and distances differ.
    """
    if not len(boxes) or len(boxes) != len(distances):
        raise ValueError(f"distances should have one value per patch ({len(boxes)}, at least 1).")
    sides = boxes[:, 2] - boxes[:, 0]
    small = sides == sides.min()
    boxes = boxes[small]
    xs, ys = np.unique(boxes[:, [0, 2]]), np.unique(boxes[:, [1, 3]])
    patches = stacked(boxes, np.ones(len(boxes)), xs, ys)
    heat = np.full(patches.shape, -np.inf)
    covered = patches > 0.5
    total = stacked(boxes, -distances[small], xs, ys)
    heat[covered] = total[covered] / patches[covered]
    rows, columns = np.nonzero(heat >= heat.max() - 1e-9)
    heights, widths = np.diff(ys)[rows], np.diff(xs)[columns]
    x = _middle(np.column_stack([xs[columns], xs[columns + 1]]), heights)
    y = _middle(np.column_stack([ys[rows], ys[rows + 1]]), widths)
    return x, y


def _middle(spans: NDArray[np.int64], thickness: NDArray[np.int64]) -> int:
    """The coordinate with half of the pixels on each side; spans are `thickness` pixels thick."""
    first, last = int(spans[:, 0].min()), int(spans[:, 1].max())
    steps = np.zeros(last - first + 1)
    np.add.at(steps, spans[:, 0] - first, thickness)
    np.add.at(steps, spans[:, 1] - first, -thickness)
    below = steps.cumsum()[:-1].cumsum()
    return first + int(np.searchsorted(below, below[-1] / 2))


def inside(point: tuple[int, int], box: Box) -> bool:
    """Whether the pixel is in the box."""
    return box[0] <= point[0] < box[2] and box[1] <= point[1] < box[3]


def overlap(first: Box, second: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    shared = intersection(first, second)
    return shared / (area(first) + area(second) - shared)
