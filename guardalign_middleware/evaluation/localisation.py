"""Whether patch distances point at the thing: the pointing game and overlaps of boxes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.types import Box


def hottest_point(boxes: NDArray[np.int64], distances: NDArray[np.float64]) -> tuple[int, int]:
    """The pixel (x, y) that looks most unsafe; no threshold is involved.

    The heat of a pixel is the mean nearness of the smallest patches that show it; of several
    equally hot pixels the middle one counts.

    Args:
        boxes: int64 `[M, 4]`.
        distances: float64 `[M]`; low = unsafe.

    Raises:
        ValueError: no patch, or not as many distances.
    """
    if not len(boxes) or len(boxes) != len(distances):
        raise ValueError(f"distances should have one value per patch ({len(boxes)}, at least 1).")
    sides = boxes[:, 2] - boxes[:, 0]
    small = sides == sides.min()
    boxes = boxes[small]
    xs, ys = np.unique(boxes[:, [0, 2]]), np.unique(boxes[:, [1, 3]])
    shown = _stacked(boxes, np.ones(len(boxes)), xs, ys)
    heat = np.full(shown.shape, -np.inf)
    covered = shown > 0.5
    total = _stacked(boxes, -distances[small], xs, ys)
    heat[covered] = total[covered] / shown[covered]
    rows, columns = np.nonzero(heat >= heat.max() - 1e-9)
    heights, widths = np.diff(ys)[rows], np.diff(xs)[columns]
    x = _middle(np.column_stack([xs[columns], xs[columns + 1]]), heights)
    y = _middle(np.column_stack([ys[rows], ys[rows + 1]]), widths)
    return x, y


def _stacked(
    boxes: NDArray[np.int64],
    values: NDArray[np.float64],
    xs: NDArray[np.int64],
    ys: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Sum of the values of the boxes over each cell of the grid with edges `xs` and `ys`."""
    corners = np.zeros((len(ys), len(xs)))
    (left, right), (top, bottom) = (
        np.searchsorted(xs, boxes[:, [0, 2]]).T,
        np.searchsorted(ys, boxes[:, [1, 3]]).T,
    )
    for rows, columns, sign in (
        (top, left, 1),
        (top, right, -1),
        (bottom, left, -1),
        (bottom, right, 1),
    ):
        np.add.at(corners, (rows, columns), sign * values)
    return corners.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]


def _middle(spans: NDArray[np.int64], thickness: NDArray[np.int64]) -> int:
    """The coordinate with half of the pixels on each side; a span is `thickness` pixels thick."""
    first, last = int(spans[:, 0].min()), int(spans[:, 1].max())
    steps = np.zeros(last - first + 1)
    np.add.at(steps, spans[:, 0] - first, thickness)
    np.add.at(steps, spans[:, 1] - first, -thickness)
    below = steps.cumsum()[:-1].cumsum()
    return first + int(np.searchsorted(below, below[-1] / 2))


def inside(point: tuple[int, int], box: Box) -> bool:
    """Whether the pixel lies in the half-open box."""
    return box[0] <= point[0] < box[2] and box[1] <= point[1] < box[3]


def overlap(first: Box, second: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (_area(first) + _area(second) - shared)


def covered(box: Box, covers: Iterable[Box]) -> float:
    """Share of the box that lies under any of the covers."""
    x0, y0, x1, y1 = box
    hidden = np.zeros((y1 - y0, x1 - x0), dtype=bool)
    for left, top, right, bottom in covers:
        hidden[max(top - y0, 0) : max(bottom - y0, 0), max(left - x0, 0) : max(right - x0, 0)] = (
            True
        )
    return float(hidden.mean())


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
