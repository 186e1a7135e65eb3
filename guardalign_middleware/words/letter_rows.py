"""Letters that stand so far apart that each is found as a line of its own, as rows again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.words.find import FoundLine, around
from guardalign_middleware.words.look import ReadLine
from guardalign_middleware.words.models import ReadingModels
from guardalign_middleware.words.spell import spell_turned

# A letter of a line takes up to 0.75 of the line's height, and more where letters stand apart.
_WIDE = 0.8
# Letters of a row, in heights of the larger: as far apart at most, and as far above each other.
_APART, _ABOVE = 3.0, 0.4
_SIZE_RATIO = 2.2
_FEWEST = 3


def with_joined_letters(
    pixels: NDArray[np.uint8], lines: Sequence[ReadLine], models: ReadingModels
) -> list[ReadLine]:
    """The lines of a picture, where rows of letters that stand far apart are one line each.

    A row is at least three lines of one letter, or of letters far apart, side by side. It is joined
    if it reads as letters that stand apart: three short words in a row do not.

    Raises:
        ValueError: a probability is NaN.
    """
    wide = [
        line
        for line in lines
        if line.found.width >= _WIDE * line.found.height * max(len("".join(line.text.split())), 1)
    ]
    rows: list[ReadLine] = []
    parts: set[int] = set()
    for row in _rows([line.found for line in wide]):
        found = around([wide[index].found for index in row])
        joined = ReadLine(found, spell_turned(pixels, found, 0, models))
        if joined.spelled.spread and joined.text:
            rows.append(joined)
            parts |= {id(wide[index]) for index in row}
    return [line for line in lines if id(line) not in parts] + rows


def _rows(found: Sequence[FoundLine]) -> list[list[int]]:
    """Indices of lines side by side, from left to right, at least three each."""
    corners = np.array([line.corners for line in found]).reshape(-1, 4, 2)
    (left, top), (right, bottom) = corners.min(axis=1).T, corners.max(axis=1).T
    height, middle = (bottom - top).tolist(), ((top + bottom) / 2).tolist()
    waiting = np.argsort(left, kind="stable").tolist()
    left, right = left.tolist(), right.tolist()
    rows = []
    while waiting:
        row = [waiting.pop(0)]
        for one in waiting:
            last = row[-1]
            if left[one] - right[last] > _APART * _SIZE_RATIO * height[last]:
                break  # as far away as all that are left, even from the largest that could follow
            high, low = max(height[last], height[one]), min(height[last], height[one])
            beside = left[one] - right[last] <= _APART * high
            level = abs(middle[one] - middle[last]) <= _ABOVE * high
            if beside and level and high <= _SIZE_RATIO * low:
                row.append(one)
        taken = set(row)
        waiting = [one for one in waiting if one not in taken]
        if len(row) >= _FEWEST:
            rows.append(row)
    return rows
