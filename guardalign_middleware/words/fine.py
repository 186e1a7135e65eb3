"""Where type may be too small to be seen in a view of the whole picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.types import Box
from guardalign_middleware.words.find import PIXEL, FoundLine, probability_of
from guardalign_middleware.words.models import ReadingModels, require_cv2

# Samples that are looked at in their own pixels: width, height, and how many across and down.
_WIDTH, _HEIGHT, _ACROSS, _DOWN = 128, 64, 2, 4
# Thin strokes: brighter or darker than what surrounds them, at most this wide.
_STROKE = 7
# A pixel whose stroke is weaker is background.
_PLAIN = 8
# Share of a sample's pixels that should be in a line.
_LEAST_SHARE = 0.01


def fine_parts(
    pixels: NDArray[np.uint8], models: ReadingModels, known: Sequence[FoundLine]
) -> list[Box]:
    """The samples of a picture in which there is small type, of eight where it is most likely.

    Likely are thin strokes on a plain ground, as print is. All eight together are one small view,
    so this costs less than half of the view from afar, however large the picture.

    Args:
        pixels: of the picture, `[H, W, 3]`.
        models: the networks.
        known: lines that need no closer look.

    Raises:
        ValueError: a probability is NaN.
    """
    elsewhere = np.ones(pixels.shape[:2], dtype=np.uint8)
    for line in known:
        require_cv2().fillPoly(elsewhere, np.rint(line.corners).astype(np.int32)[None], 0)
    boxes = _samples(pixels, elsewhere)
    if not boxes:
        return []
    sheet = np.full((_DOWN * _HEIGHT, _ACROSS * _WIDTH, 3), 128, dtype=np.uint8)
    places = [divmod(index, _ACROSS) for index in range(len(boxes))]
    for (row, column), (x0, y0, x1, y1) in zip(places, boxes, strict=True):
        top, left = row * _HEIGHT, column * _WIDTH
        sheet[top : top + y1 - y0, left : left + x1 - x0] = pixels[y0:y1, x0:x1]
    marked = probability_of(sheet, models) > PIXEL
    found = []
    for (row, column), box in zip(places, boxes, strict=True):
        x0, y0, x1, y1 = box
        top, left = row * _HEIGHT, column * _WIDTH
        inside = marked[top : top + y1 - y0, left : left + x1 - x0] * elsewhere[y0:y1, x0:x1]
        if inside.mean() >= _LEAST_SHARE:
            found.append(box)
    return found


def _samples(pixels: NDArray[np.uint8], elsewhere: NDArray[np.uint8]) -> list[Box]:
    """The most likely boxes, which hardly overlap; only pixels `elsewhere` count, `[H, W]`."""
    cv2 = require_cv2()
    height, width = pixels.shape[:2]
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    kernel = np.ones((_STROKE, _STROKE), np.uint8)
    strokes = cv2.max(
        cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, kernel),
        cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, kernel),
    )
    strokes = strokes * elsewhere
    grid = (max(1, 2 * width // _WIDTH), max(1, 2 * height // _HEIGHT))
    cell = cv2.resize(strokes.astype(np.float32), grid, interpolation=cv2.INTER_AREA)
    plain = cv2.resize((strokes < _PLAIN).astype(np.float32), grid, interpolation=cv2.INTER_AREA)
    likely = cell * plain
    boxes: list[Box] = []
    while len(boxes) < _ACROSS * _DOWN and likely.max() > 0.0:
        row, column = divmod(int(likely.argmax()), grid[0])
        likely[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = 0.0
        x = round((column + 0.5) * width / grid[0]) - _WIDTH // 2
        y = round((row + 0.5) * height / grid[1]) - _HEIGHT // 2
        x, y = max(min(x, width - _WIDTH), 0), max(min(y, height - _HEIGHT), 0)
        boxes.append((x, y, min(x + _WIDTH, width), min(y + _HEIGHT, height)))
    return boxes
