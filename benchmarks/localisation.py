"""Whether patch distances point at the unsafe thing: the pointing game and overlaps of boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.boxes import area, intersection
from guardalign_middleware.heat import pixel_heat
from guardalign_middleware.types import Box


def hottest_point(
    boxes: NDArray[np.int64], heats: NDArray[np.float64], levels: NDArray[np.int64]
) -> tuple[int, int]:
    """The hottest pixel (x, y) of `heat.pixel_heat`; the middle one of several.

    Args:
        boxes: int64 `[M, 4]`.
        heats: float64 `[M]`, at least 0; high = unsafe.
        levels: int64 `[M]`; patches of one level are of one size.

    Raises:
        ValueError: there are no patches, or a heat is negative.
    """
    if not len(boxes) or (heats < 0).any():
        raise ValueError("heats should be >= 0, of at least one patch.")
    xs, ys, heat = pixel_heat(boxes, heats, levels)
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
