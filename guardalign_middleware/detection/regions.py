"""From flagged patches to boxes that fit tightly around what was found.

A flagged patch votes for its pixels, more strongly the farther it lies below the threshold; the
heat of a pixel is the mean vote of all patches of one size that show it, flagged or not. Crops that
overlap agree on the thing they share, so the pixels near the local maximum lie on it. Small crops
place a thing best and come first; a larger one counts only if it touches no region found by smaller
ones. Anything else it shows is found when that region is masked and the picture is scanned again.
So every flagged patch is touched by a region.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.boxes import area, intersection
from guardalign_middleware.types import Box, Region

# Below one half, which includes a pixel on which two equal patches disagree.
_PEAK_SHARE = 0.4
_EXPLAINED = 0.25
_MIN_VOTE = 0.1


def find_regions(
    boxes: NDArray[np.int64],
    distances: NDArray[np.float64],
    categories: tuple[str, ...],
    threshold: float | NDArray[np.float64],
    levels: NDArray[np.int64],
    costs: NDArray[np.float64],
) -> tuple[Region, ...]:
    """Regions of the patches whose distance is at most the threshold, nearest first.

    A region takes category and distance from the nearest flagged patch that explains it.

    Args:
        boxes: int64 `[M, 4]`.
        distances: float64 `[M]`; low = unsafe.
        categories: nearest unsafe category of each patch, length M.
        threshold: τ, one for all patches or float64 `[M]`.
        levels: int64 `[M]`; patches of one level are of one form and one size.
        costs: float64 `[M]`, transport cost of each patch to its category.
    """
    beyond = distances - threshold
    flagged = np.flatnonzero(distances <= threshold)
    if flagged.size == 0:
        return ()
    # Square, except for boxes of a view that reach beyond the picture's border and are cut there.
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
    regions = [_region(box, order, boxes, distances, categories, costs) for box in found]
    return tuple(sorted(regions, key=lambda region: (region.distance, region.box)))


def _region(
    box: Box,
    nearest_first: NDArray[np.int64],
    boxes: NDArray[np.int64],
    distances: NDArray[np.float64],
    categories: tuple[str, ...],
    costs: NDArray[np.float64],
) -> Region:
    # A large patch that only touches the region may be flagged for something else that it shows.
    explained = (p for p in nearest_first if _explained(boxes[p], [box]))
    # Where clusters of patches cross, the rest of one may be explained by no patch.
    touching = (p for p in nearest_first if _touches(boxes[p], [box]))
    best = next(chain(explained, touching))
    return Region(box, categories[best], float(distances[best]), float(costs[best]))


def _touches(patch: NDArray[np.int64], regions: list[Box]) -> bool:
    own = tuple(patch.tolist())
    return any(intersection(own, region) > 0 for region in regions)


def _explained(patch: NDArray[np.int64], regions: list[Box]) -> bool:
    """True when a region covers a quarter of the patch, or the patch most of a region."""
    own = tuple(patch.tolist())
    for region in regions:
        shared = intersection(own, region)
        if shared >= _EXPLAINED * area(own) or shared > 0.5 * area(region):
            return True
    return False


def _hot_boxes(
    boxes: NDArray[np.int64], votes: NDArray[np.float64], all_boxes: NDArray[np.int64]
) -> list[Box]:
    """Bounding boxes of the connected pixels that are nearly as hot as the local maximum.

    Heat is constant between the patches' edges, so these edges are the grid. Of a cluster of
    patches with several peaks only the hottest is returned; the caller asks again for the rest.
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
