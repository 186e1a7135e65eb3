"""Where lines of words are: the probability of a view, and the quadrilaterals in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.types import Box
from guardalign_middleware.words.line import Corners
from guardalign_middleware.words.models import ReadingModels, require_cv2

# As PaddleOCR has them: a pixel is in a line, a line is one, and how far its letters reach beyond
# the core that the network marks, as a share of area / circumference.
PIXEL, _LINE, _REACH = 0.3, 0.5, 1.6
_LEAST_SIDE = 3.0
_MULTIPLE = 32
# Contrast: a share of the longer side as the neighbourhood, the gain, and the noise not to enlarge.
_NEIGHBOURHOOD, _GAIN, _NOISE = 1 / 12, 50.0, 3.0


@dataclass(frozen=True)
class FoundLine:
    """A line that was found and not yet read.

    Attributes:
        corners: from the left of its longer side at the top, clockwise, in pixels of the picture.
        width, height: along and across the line, in pixels of the picture.
        height_seen: across the line, in pixels of the view.
        score: mean probability of its pixels, 0 to 1.
    """

    corners: Corners
    width: float
    height: float
    height_seen: float
    score: float


def box_of(line: FoundLine, width: int, height: int) -> Box:
    """The box around a line, at least one pixel of a `width` × `height` picture."""
    corners = np.array(line.corners)
    x0, y0 = np.floor(corners.min(axis=0)).astype(int).clip(0, (width - 1, height - 1)).tolist()
    x1, y1 = np.ceil(corners.max(axis=0)).astype(int).clip(1, (width, height)).tolist()
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def resized(pixels: NDArray[np.uint8], most_pixels: float, most_scale: float) -> NDArray[np.uint8]:
    """A view of `[H, W, 3]`, its sides multiples of 32, as large as allowed.

    Args:
        pixels: of the picture, or of a part.
        most_pixels: of the view.
        most_scale: of view to picture.
    """
    cv2 = require_cv2()
    height, width = pixels.shape[:2]
    scale = min(math.sqrt(most_pixels / (height * width)), most_scale)
    size = tuple(
        max(_MULTIPLE, round(side * scale / _MULTIPLE) * _MULTIPLE) for side in (width, height)
    )
    # The shorter side of a strip is no less than 32: the longer one pays for it.
    longest = max(_MULTIPLE, int(most_pixels / min(size)) // _MULTIPLE * _MULTIPLE)
    size = (min(size[0], longest), min(size[1], longest))
    way = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    view: NDArray[np.uint8] = cv2.resize(pixels, size, interpolation=way)
    return view


def evened(view: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The view with the same contrast everywhere, so that faint words are found as strong ones are.

    (x - m) / (s + 3), where m and s are mean and deviation of the neighbourhood, scaled to -1 to 1.
    """
    cv2 = require_cv2()
    side = max(15, int(max(view.shape[:2]) * _NEIGHBOURHOOD) | 1)
    values = view.astype(np.float32)
    # OpenCV, in place: this is a third of the time that the same in numpy takes.
    scaled: NDArray[np.float32] = cv2.subtract(values, cv2.blur(values, (side, side)))
    mean = np.full((1, 3), 1 / 3, dtype=np.float32)
    power = cv2.blur(cv2.transform(cv2.multiply(scaled, scaled), mean), (side, side))
    gain = (_GAIN / 127.5) / (np.sqrt(np.maximum(power, 0.0)) + np.float32(_NOISE))
    scaled *= gain[..., None]
    return np.clip(scaled, -1.0, 1.0, out=scaled)


def probability_of(view: NDArray[np.uint8], models: ReadingModels) -> NDArray[np.float32]:
    """How probably each pixel of a view lies in a line, `[H, W]`, 0 to 1.

    Raises:
        ValueError: it is NaN somewhere.
    """
    found = models.find(evened(view)[:, :, ::-1])  # the network knows BGR
    if not np.isfinite(found).all():
        raise ValueError("The network that finds lines gave NaN or infinity.")
    return found


def lines_in(
    probability: NDArray[np.float32], origin: tuple[float, float], scale: tuple[float, float]
) -> list[FoundLine]:
    """The lines in a probability, as differentiable binarization finds them.

    Args:
        probability: of a view, `[H, W]`.
        origin: the view's corner in the picture, x and y.
        scale: pixels of the picture for one of the view, across and down.
    """
    cv2 = require_cv2()
    marked = cv2.dilate((probability > PIXEL).astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(marked, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for contour in contours:
        centre, sides, turn = cv2.minAreaRect(contour)
        if min(sides) < _LEAST_SIDE:
            continue
        score = _mean_inside(probability, cv2.boxPoints((centre, sides, turn)), cv2)
        if not score >= _LINE:
            continue
        reach = 2.0 * _REACH * sides[0] * sides[1] / (2.0 * (sides[0] + sides[1]))
        grown = (sides[0] + reach, sides[1] + reach)
        corners = cv2.boxPoints((centre, grown, turn)).astype(np.float64)
        found.append(_line(corners, origin, scale, min(grown), score))
    return found


def around(lines: Sequence[FoundLine]) -> FoundLine:
    """The narrowest line that holds lines, seen and scored as the worst of them."""
    cv2 = require_cv2()
    points = np.array([corner for line in lines for corner in line.corners], dtype=np.float32)
    corners = cv2.boxPoints(cv2.minAreaRect(points)).astype(np.float64)
    seen = min(line.height_seen for line in lines)
    return _line(corners, (0.0, 0.0), (1.0, 1.0), seen, min(line.score for line in lines))


def _mean_inside(probability: NDArray[np.float32], corners: NDArray[np.float32], cv2: Any) -> float:
    height, width = probability.shape
    x0, y0 = np.floor(corners.min(axis=0)).astype(int).clip((0, 0), (width - 1, height - 1))
    x1, y1 = np.ceil(corners.max(axis=0)).astype(int).clip((0, 0), (width - 1, height - 1))
    inside = np.zeros((y1 - y0 + 1, x1 - x0 + 1), dtype=np.uint8)
    cv2.fillPoly(inside, (corners - (x0, y0)).reshape(1, -1, 2).astype(np.int32), 1)
    return float(cv2.mean(probability[y0 : y1 + 1, x0 : x1 + 1], inside)[0])


def _line(
    corners: NDArray[np.float64],
    origin: tuple[float, float],
    scale: tuple[float, float],
    height_seen: float,
    score: float,
) -> FoundLine:
    placed = corners * scale + origin
    first, second = (float(np.linalg.norm(placed[i + 1] - placed[i])) for i in (0, 1))
    # The longer side first, and of its two directions the one to the right (down, if upright).
    start = 0 if first >= second else 1
    along = placed[(start + 1) % 4] - placed[start]
    if along[0] < -1e-6 or (abs(along[0]) <= 1e-6 and along[1] < 0):
        start += 2
    ordered = np.roll(placed, -start, axis=0)
    if _turns_left(ordered):
        # boxPoints goes clockwise in an image; a view scaled unevenly does not change that.
        ordered = ordered[[1, 0, 3, 2]]
    quad = [(float(x), float(y)) for x, y in ordered]
    return FoundLine(
        (quad[0], quad[1], quad[2], quad[3]),
        max(first, second),
        min(first, second),
        height_seen,
        score,
    )


def _turns_left(quad: NDArray[np.float64]) -> bool:
    one, two = quad[1] - quad[0], quad[2] - quad[1]
    return bool(one[0] * two[1] - one[1] * two[0] < 0)
