"""From flagged patches to boxes that hug what was found.

A flagged patch votes for its pixels, more strongly the farther it lies below the threshold; the
heat of a pixel is the mean vote of all patches of one size that show it, flagged or not. Crops that
overlap agree on the thing they share, so the pixels with a good part of the local maximum lie on
it. Small crops place a thing best and are asked first; a larger one is asked only if it does not
touch what smaller ones found: what else it may show is seen when that is covered and the picture is
scanned again. So every flagged patch is touched by a region.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.types import Box, Region

# Below one half, so that a pixel on which two equal patches disagree is in.
_PEAK_SHARE = 0.4
_EXPLAINED = 0.25
_MIN_VOTE = 0.1


def find_regions(
    boxes: NDArray[np.int64],
    distances: NDArray[np.float64],
    categories: tuple[str, ...],
    threshold: float | NDArray[np.float64],
) -> tuple[Region, ...]:
    """Regions of the patches whose distance is at most the threshold, nearest first.

    A region takes category and distance from the nearest flagged patch that explains it.

    Args:
        boxes: int64 `[M, 4]`.
        distances: float64 `[M]`; low = unsafe.
        categories: nearest unsafe category of each patch, length M.
        threshold: τ, one for all patches or float64 `[M]`.
    """
    beyond = distances - threshold
    flagged = np.flatnonzero(distances <= threshold)
    if flagged.size == 0:
        return ()
    # Squares, but for those of a view that reach beyond the picture's border and are cut there.
    all_sides = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    sides = all_sides[flagged]
    span = -float(beyond[flagged].min())
    margin = -beyond[flagged] / span if span > 0 else np.ones(flagged.size)
    votes = np.maximum(margin, _MIN_VOTE)
    found: list[Box] = []
    for side in np.unique(sides):
        here = sides == side
        alone = np.array([not _touches(boxes[patch], found) for patch in flagged[here]], dtype=bool)
        left, strength = flagged[here][alone], votes[here][alone]
        found_here: list[Box] = []
        while left.size:
            found_here += _hot_boxes(boxes[left], strength, boxes[all_sides == side])
            open_ = np.array([not _explained(boxes[p], found_here) for p in left], dtype=bool)
            left, strength = left[open_], strength[open_]
        found += found_here
    # The nearest patch is the one farthest below its own threshold.
    order = flagged[np.argsort(beyond[flagged], kind="stable")]
    regions = [_region(box, order, boxes, distances, categories) for box in found]
    return tuple(sorted(regions, key=lambda region: (region.distance, region.box)))


def _region(
    box: Box,
    nearest_first: NDArray[np.int64],
    boxes: NDArray[np.int64],
    distances: NDArray[np.float64],
    categories: tuple[str, ...],
) -> Region:
    # A large patch that only touches the region may have been flagged for something else in it.
    explained = (p for p in nearest_first if _explained(boxes[p], [box]))
    # Where several clusters of patches cross, what is left of one may be explained by none of them.
    touching = (p for p in nearest_first if _touches(boxes[p], [box]))
    best = next(chain(explained, touching))
    return Region(box, categories[best], float(distances[best]))


def _touches(patch: NDArray[np.int64], regions: list[Box]) -> bool:
    own = tuple(patch.tolist())
    return any(_intersection(own, region) > 0 for region in regions)


def _explained(patch: NDArray[np.int64], regions: list[Box]) -> bool:
    """True when a region covers a quarter of the patch, or the patch most of a region."""
    area = _area(tuple(patch.tolist()))
    for region in regions:
        shared = _intersection(tuple(patch.tolist()), region)
        if shared >= _EXPLAINED * area or shared > 0.5 * _area(region):
            return True
    return False


def _hot_boxes(
    boxes: NDArray[np.int64], votes: NDArray[np.float64], all_boxes: NDArray[np.int64]
) -> list[Box]:
    """Bounding boxes of the connected pixels that are nearly as hot as the hottest around them.

    Heat is constant between the patches' edges, so those edges are the grid. A cluster of patches
    that holds several peaks gives up the hottest; the caller asks again for the rest.
    """
    xs, ys = np.unique(all_boxes[:, [0, 2]]), np.unique(all_boxes[:, [1, 3]])
    shown = _stack(all_boxes, np.ones(len(all_boxes)), xs, ys)
    heat = _stack(boxes, votes, xs, ys) / np.maximum(shown, 1.0)
    found = []
    for cluster in _components(heat > 0.0):
        peak = heat[cluster].max()
        for part in _components(cluster & (heat >= _PEAK_SHARE * peak)):
            hot_rows, hot_columns = np.nonzero(part)
            found.append(
                (
                    int(xs[hot_columns.min()]),
                    int(ys[hot_rows.min()]),
                    int(xs[hot_columns.max() + 1]),
                    int(ys[hot_rows.max() + 1]),
                )
            )
    return found


def _stack(
    boxes: NDArray[np.int64],
    values: NDArray[np.float64],
    xs: NDArray[np.int64],
    ys: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Sum of the values of the boxes over each cell of the grid with edges `xs` and `ys`."""
    total = np.zeros((len(ys) - 1, len(xs) - 1))
    columns, rows = np.searchsorted(xs, boxes[:, [0, 2]]), np.searchsorted(ys, boxes[:, [1, 3]])
    for (x0, x1), (y0, y1), value in zip(columns, rows, values, strict=True):
        total[y0:y1, x0:x1] += value
    return total


def _components(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Groups of True cells that share an edge."""
    left = mask.copy()
    groups = []
    for start in np.argwhere(mask).tolist():
        if not left[tuple(start)]:
            continue
        group = np.zeros_like(mask)
        stack = [tuple(start)]
        left[tuple(start)] = False
        while stack:
            row, column = stack.pop()
            group[row, column] = True
            for r, c in (
                (row - 1, column),
                (row + 1, column),
                (row, column - 1),
                (row, column + 1),
            ):
                if 0 <= r < mask.shape[0] and 0 <= c < mask.shape[1] and left[r, c]:
                    left[r, c] = False
                    stack.append((r, c))
        groups.append(group)
    return groups


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _intersection(first: Box, second: Box) -> int:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0) * max(height, 0)
