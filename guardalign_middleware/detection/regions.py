"""From unsafe patches to boxes that cover and hug what was found.

An encoder recognises a thing in a crop that shows about half of it or more, however large the thing
is, within limits. (Measured on the miniature: unsafe in 0% of the crops that show a fifth of a
thing, 50% at 0.42, 95% at 0.6.) So all crops together, the safe ones too, say where the thing ends:
a region is the box that best explains which crops are near something unsafe and which are not.

Regions are found one after another, each from an unsafe crop that no earlier one explains, so every
unsafe crop is touched by a region. What hundreds of them leave is covered in large pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.heat import nearness
from guardalign_middleware.types import Box, Region

# The share of a thing in a crop: not recognised at the first, surely at the second.
_SHOWN = (0.15, 0.65)
# The side of a thing to that of the crop: too small at the first, large enough at the second.
_SCALE = (0.1, 0.32)
_EXPLAINED = 0.3
# A crop of which so much lies in a region is explained too: a part or a texture may suffice.
_FILLED = 0.25
# Unlikely shapes cost a little, because two crops may leave one direction open.
_SHAPE_COST = 0.05
# Among boxes that explain the crops equally well, the largest is the safe one.
_SIZE_GAIN = 0.02
# What is fitted is the part by which a thing is recognised; the thing goes on around it.
_RIM = 0.1
# Of the finest crop: a smaller thing cannot be placed more exactly.
_LEAST_SIDE = 0.4
_SMALLEST_STEP = 1 / 32
# Bounds the time: a picture with so many regions is blocked by the area they cover anyway.
_MOST_FITTED = 32
# After so many regions, what is left is covered together, place by place on such a grid.
_MOST_SINGLE = 256
_PLACES = 8
_EDGES = np.eye(4)
_MOVES = np.concatenate(
    [
        _EDGES,
        -_EDGES,
        [(1, 0, 1, 0), (-1, 0, -1, 0), (0, 1, 0, 1), (0, -1, 0, -1)],  # shift
        [(-1, -1, 1, 1), (1, 1, -1, -1)],  # grow, shrink
    ]
)

_Floats = NDArray[np.float64]


def find_regions(
    boxes: NDArray[np.int64],
    distances: _Floats,
    categories: tuple[str, ...],
    threshold: float | _Floats,
    levels: NDArray[np.int64],
    costs: _Floats,
    *,
    seeds: NDArray[np.bool_] | None = None,
) -> tuple[Region, ...]:
    """Regions of the patches whose distance is at most the threshold, nearest first.

    A region takes category, distance and cost from the nearest unsafe patch that it explains.

    Args:
        boxes: int64 `[M, 4]`.
        distances: float64 `[M]`; low = unsafe.
        categories: nearest unsafe category of each patch, length M.
        threshold: τ, one for all patches or float64 `[M]`.
        levels: int64 `[M]`; patches of one level are of one form and one size.
        costs: float64 `[M]`, transport cost of each patch to its category.
        seeds: bool `[M]`, of which unsafe patches regions are wanted; all by default. The other
            unsafe ones have no say.

    Raises:
        ValueError: a distance is not finite.
    """
    near = nearness(distances, threshold)
    unsafe = distances <= threshold
    kept = np.arange(len(boxes)) if seeds is None else np.flatnonzero(seeds | ~unsafe)
    boxes, distances, levels, costs = boxes[kept], distances[kept], levels[kept], costs[kept]
    near, wanted = near[kept], unsafe[kept]
    categories = tuple(categories[index] for index in kept.tolist())
    beyond = distances - np.broadcast_to(threshold, unsafe.shape)[kept]
    crops = _Crops.of(boxes, levels)
    # Fine crops place a thing best. Among equals, the one farthest below its own threshold.
    left = np.lexsort((beyond, crops.sides))
    left = left[wanted[left]]
    unexplained = np.ones(len(boxes))
    found: list[Region] = []
    while left.size and len(found) < _MOST_SINGLE:
        seed = left[0]
        box = boxes[seed].astype(np.float64)
        recognised = np.zeros(len(boxes))
        if len(found) < _MOST_FITTED:
            fitted = _fit(box, near, unexplained, crops)
            recognised = crops.recognise_in_all(fitted)
            if recognised[seed] >= _EXPLAINED:
                box = fitted
        if recognised[seed] < _EXPLAINED:
            recognised = crops.recognise_in_all(box)
            recognised[seed] = 1.0
        named = np.flatnonzero(wanted & (recognised >= _EXPLAINED))
        best = named[beyond[named].argmin()]
        region = _whole_pixels(box, crops)
        found.append(Region(region, categories[best], float(distances[best]), float(costs[best])))
        unexplained *= 1.0 - recognised
        open_ = (recognised < _EXPLAINED) & (crops.filled(region) < _FILLED)
        left = left[open_[left]]
    for group in _by_place(left, crops):
        best = group[beyond[group].argmin()]
        own = crops.boxes[group]
        box = np.concatenate([own[:, :2].min(axis=0), own[:, 2:].max(axis=0)])
        region = _whole_pixels(box, crops)
        found.append(Region(region, categories[best], float(distances[best]), float(costs[best])))
    return tuple(sorted(found, key=lambda region: (region.distance, region.box)))


def _by_place(rows: NDArray[np.int64], crops: _Crops) -> list[NDArray[np.int64]]:
    """Rows of crops, those together whose middles lie in one field of a grid on the picture."""
    if not rows.size:
        return []
    start, end = crops.border[:2], crops.border[2:]
    middles = (crops.boxes[rows, :2] + crops.boxes[rows, 2:]) / 2.0
    fields = np.minimum((middles - start) / (end - start) * _PLACES, _PLACES - 1).astype(np.int64)
    places = fields[:, 0] * _PLACES + fields[:, 1]
    return [rows[places == place] for place in np.unique(places)]


@dataclass(frozen=True, eq=False)
class _Crops:
    """Crops on a picture.

    Attributes:
        boxes: `[M, 4]`.
        sides: `[M]`, also of a crop that is cut at the picture's border; geometric mean of both.
        border: the box that holds all crops, `[4]`.
    """

    boxes: _Floats
    sides: _Floats
    border: _Floats

    @classmethod
    def of(cls, boxes: NDArray[np.int64], levels: NDArray[np.int64]) -> _Crops:
        size = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
        sides = np.zeros(len(boxes))
        for level in np.unique(levels):
            own = levels == level
            sides[own] = np.sqrt(size[own].max(axis=0).prod())
        border = np.zeros(4)
        if len(boxes):
            border = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
        return cls(boxes.astype(np.float64), sides, border.astype(np.float64))

    def meeting(self, things: _Floats) -> NDArray[np.int64]:
        """Rows of the crops that meet the box around all of these `[K, 4]`, few among thousands."""
        low, high = things[:, :2].min(axis=0), things[:, 2:].max(axis=0)
        meets = (self.boxes[:, :2] < high) & (self.boxes[:, 2:] > low)
        return np.flatnonzero(meets[:, 0] & meets[:, 1])

    def recognise(self, things: _Floats, rows: NDArray[np.int64]) -> _Floats:
        """How surely each of these crops, R rows, is unsafe if a box `[K, 4]` is it: `[K, R]`.

        0 for every crop that does not meet the box.
        """
        areas = (things[:, 2:] - things[:, :2]).prod(axis=1)[:, None]
        shown = _shared(things, self.boxes[rows]) / areas
        return _rising(shown, *_SHOWN) * _rising(np.sqrt(areas) / self.sides[rows], *_SCALE)

    def recognise_in_all(self, thing: _Floats) -> _Floats:
        """How surely each crop is unsafe if this box `[4]` is the thing: `[M]`."""
        rows = self.meeting(thing[None])
        surely = np.zeros(len(self.boxes))
        surely[rows] = self.recognise(thing[None], rows)[0]
        return surely

    def filled(self, box: Box) -> _Floats:
        """The share of each crop that lies in a box: `[M]`."""
        areas = (self.boxes[:, 2:] - self.boxes[:, :2]).prod(axis=1)
        share: _Floats = _shared(np.array([box], dtype=np.float64), self.boxes)[0] / areas
        return share


def _shared(things: _Floats, boxes: _Floats) -> _Floats:
    """The area that each of K things `[K, 4]` has in common with each of R boxes: `[K, R]`."""
    low = np.maximum(things[:, None, :2], boxes[None, :, :2])
    high = np.minimum(things[:, None, 2:], boxes[None, :, 2:])
    shared: _Floats = np.clip(high - low, 0.0, None).prod(axis=2)
    return shared


def _fit(seed: _Floats, near: _Floats, unexplained: _Floats, crops: _Crops) -> _Floats:
    """The box `[4]` that best explains, with the regions before it, how near each crop is.

    Starts in the middle of the seed, and moves, shifts and scales in ever smaller steps.
    """
    quarter = (seed[2:] - seed[:2]) / 4.0
    box = np.concatenate([seed[:2] + quarter, seed[2:] - quarter])
    least = np.minimum(quarter, 1.0)
    step = float(quarter.max())
    smallest = max(_SMALLEST_STEP * float(crops.sides.min()), 0.5)
    loss = _losses(box[None], near, unexplained, crops)[0]
    while step >= smallest:
        tried = np.clip(
            box + step * _MOVES, np.tile(crops.border[:2], 2), np.tile(crops.border[2:], 2)
        )
        tried = tried[((tried[:, 2:] - tried[:, :2]) >= least).all(axis=1)]
        losses = _losses(tried, near, unexplained, crops)
        best = int(losses.argmin())
        if losses[best] < loss - 1e-9:
            box, loss = tried[best], losses[best]
        else:
            step /= 2.0
    return box


def _losses(things: _Floats, near: _Floats, unexplained: _Floats, crops: _Crops) -> _Floats:
    """Squared error of each box `[K, 4]` over all crops: `[K]`."""
    rows = crops.meeting(things)
    expected = 1.0 - unexplained[rows] * (1.0 - crops.recognise(things, rows))
    size = things[:, 2:] - things[:, :2]
    shape = np.log(size[:, 0] / size[:, 1])
    each = np.tile((near - (1.0 - unexplained)) ** 2, (len(things), 1))
    each[:, rows] = (near[rows] - expected) ** 2
    # Summed over all crops: a sum in another order would round otherwise.
    errors: _Floats = each.sum(axis=1)
    errors += _SHAPE_COST * shape**2 - _SIZE_GAIN * np.log(size.prod(axis=1))
    return errors


def _rising(values: _Floats, low: float, high: float) -> _Floats:
    """0 below `low`, 1 above `high`, smooth in between."""
    share = np.clip((values - low) / (high - low), 0.0, 1.0)
    smooth: _Floats = share * share * (3.0 - 2.0 * share)
    return smooth


def _whole_pixels(box: _Floats, crops: _Crops) -> Box:
    """The box with its rim, in whole pixels of the picture."""
    size = box[2:] - box[:2]
    rim = np.maximum(_RIM * size, (_LEAST_SIDE * crops.sides.min() - size) / 2.0)
    x0, y0 = np.floor(np.maximum(box[:2] - rim, crops.border[:2])).astype(int).tolist()
    x1, y1 = np.ceil(np.minimum(box[2:] + rim, crops.border[2:])).astype(int).tolist()
    return x0, y0, x1, y1
