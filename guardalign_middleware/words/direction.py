"""Which way the words of a picture run, and pictures turned so that they run rightwards."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.words.line import Corners, WordLine
from guardalign_middleware.words.look import SHORT, ReadLine
from guardalign_middleware.words.models import ReadingModels
from guardalign_middleware.words.spell import spell_turned


def angle_of(corners: Corners) -> float:
    """Of the direction in which a line runs, in degrees clockwise, -180 < angle <= 180."""
    (x0, y0), (x1, y1) = corners[:2]
    return _wrapped(math.degrees(math.atan2(y1 - y0, x1 - x0)))


def quarter_of(angle: float) -> int:
    """The nearest quarter turn, clockwise from left-to-right, 0 to 3."""
    return round(angle / 90.0) % 4


def main_quarter(lines: Sequence[ReadLine]) -> int:
    """The quarter turn in which most letters of a picture are read; 0 if there is none such."""
    letters: Counter[int] = Counter()
    for line in lines:
        if len(line.text) > SHORT:
            letters[quarter_of(angle_of(line.corners))] += sum(map(str.isalpha, line.text))
    quarter, count = letters.most_common(1)[0] if letters else (0, 0)
    return quarter if 2 * count > letters.total() else 0


def with_upright_marks(
    pixels: NDArray[np.uint8], lines: Sequence[ReadLine], models: ReadingModels
) -> list[ReadLine]:
    """The lines of a picture whose words run rightwards, its marks read as they do.

    Numbers of a list and other text of one or two letters are read in any direction, and as
    something else in some.

    Raises:
        ValueError: a probability is NaN.
    """
    found = []
    for line in lines:
        quarter = quarter_of(angle_of(line.corners))
        if quarter and 0 < len(line.spelled.text) <= SHORT:
            turned = (line.spelled.turned + quarter) % 4
            upright = replace(line, spelled=spell_turned(pixels, line.found, turned, models))
            line = upright if upright.text else line
        found.append(line)
    return found


def turned_back(line: WordLine, quarters: int, size: tuple[int, int]) -> WordLine:
    """A line of `np.rot90(picture, quarters)` as a line of the picture.

    Args:
        line: found in the turned picture.
        quarters: by which the picture was turned, counterclockwise.
        size: width and height of the turned picture.
    """
    width, height = size
    corners, (x0, y0, x1, y1) = line.corners, line.box
    for _ in range(quarters):
        first, second, third, fourth = ((height - y, x) for x, y in corners)
        corners = (first, second, third, fourth)
        x0, y0, x1, y1 = height - y1, x0, height - y0, x1
        width, height = height, width
    angle = _wrapped(line.angle + 90.0 * quarters)
    return replace(line, box=(x0, y0, x1, y1), corners=corners, angle=angle)


def _wrapped(degrees: float) -> float:
    wrapped = (degrees + 180.0) % 360.0 - 180.0
    return 180.0 if wrapped <= -180.0 else wrapped
