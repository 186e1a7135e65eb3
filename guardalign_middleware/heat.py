"""How near each crop, and each pixel, is to something unsafe, on one scale for all forms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEAST_THRESHOLD = 1e-12


def nearness(
    distances: NDArray[np.float64], threshold: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """1 at a patch's threshold and below, 0 at the farthest patch, linear in between.

    A distance says little by itself: forms and categories have thresholds of their own.

    Args:
        distances: float64 `[M]`; low = unsafe.
        threshold: τ, one for all patches or float64 `[M]`.

    Returns:
        float64 `[M]`.

    Raises:
        ValueError: a distance is not finite.
    """
    if not np.isfinite(distances).all():
        raise ValueError("patch_distances should be finite.")
    if not len(distances):
        return np.zeros(0)
    farthest = float(distances.max())
    span = np.maximum(farthest - threshold, np.finfo(np.float64).tiny)
    near = np.clip((farthest - distances) / span, 0.0, 1.0)
    return np.where(distances <= threshold, 1.0, near)


def heats_of(
    distances: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How hot each patch is: 0 at the farthest, 0.5 at its threshold, 1 for the most unsafe.

    Below thresholds, depth is relative to them, because those of forms differ by orders of
    magnitude.

    Args:
        distances: float64 `[M]`; low = unsafe.
        thresholds: float64 `[M]`.

    Returns:
        float64 `[M]`; at most 0.5 where no patch is below its threshold.

    Raises:
        ValueError: a distance is not finite.
    """
    near = 0.5 * nearness(distances, thresholds)
    depth = np.maximum(1.0 - distances / np.maximum(thresholds, _LEAST_THRESHOLD), 0.0)
    heats: NDArray[np.float64] = near + 0.5 * depth / max(float(depth.max(initial=0.0)), 1e-9)
    return heats


def pixel_heat(
    boxes: NDArray[np.int64], values: NDArray[np.float64], levels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The heat of each pixel: the mean over all crops of a level that show it, then over levels.

    Crops that overlap agree on the thing they share. A mean within each level keeps the many fine
    crops from outvoting the few coarse ones. Heat is constant between the edges of the crops, which
    are the grid.

    Args:
        boxes: int64 `[M, 4]`, in pixels of the picture.
        values: float64 `[M]`, of each crop.
        levels: int64 `[M]`; crops of one level are of one form and one size.

    Returns:
        The edges of the cells, int64 `[X + 1]` across and `[Y + 1]` down, and the heat, float64
        `[Y, X]`; 0 where no crop is.
    """
    xs, ys = np.unique(boxes[:, [0, 2]]), np.unique(boxes[:, [1, 3]])
    total, count = np.zeros((2, max(len(ys) - 1, 0), max(len(xs) - 1, 0)))
    for level in np.unique(levels):
        own = levels == level
        shown = stacked(boxes[own], np.ones(int(own.sum())), xs, ys)
        summed = stacked(boxes[own], values[own], xs, ys)
        there = shown > 0.5
        total[there] += summed[there] / shown[there]
        count[there] += 1.0
    return xs, ys, np.divide(total, count, out=np.zeros_like(total), where=count > 0)


def stacked(
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
