"""Where to look for lines: the whole picture from afar, and closer where type may be small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.types import Box
from guardalign_middleware.words.find import (
    FoundLine,
    box_of,
    lines_in,
    probability_of,
    resized,
)
from guardalign_middleware.words.fine import fine_parts
from guardalign_middleware.words.line import Corners
from guardalign_middleware.words.models import ReadingModels, require_cv2
from guardalign_middleware.words.spell import Spelled, spell

# Pixels of the view from afar, and how much more of them a closer view may have at most.
FAR, _CLOSER = 320 * 320, 5
# Most enlargement: of a whole small picture, and of small type in any.
_FAR_SCALE, _SCALE = 3.0, 2.0
# Small type of a picture that is seen smaller than this is looked for in samples.
_TOO_FAR = 0.6
# Lines of at least this height in a view are as good as they get, if they can be read.
_LEGIBLE, _READ = 16.0, 0.75
# Small type is enlarged to this height: the networks see no more in a larger view.
_ENOUGH = 24.0
# A line of this height in a view of almost the picture's own pixels has been seen well enough.
_LARGE, _NEARLY = 40.0, 0.66
# What may be part of a line that is too small to see.
_HINT = 0.15
# Pixels of a view: what is no farther apart is looked at together, and what lies around it as well.
_NEAR = 12
# A line that ends so near to the border of a part may go on beyond it.
_CUT = 6
# What the network marks around a line that it has found, in pixels of a view; and what is no line.
_HALO, _SPECK = 11, 6
_SAME = 0.5
_MOST_PARTS = 16
_LEAST_VIEW = 64 * 64
# Texture looks like one or two letters now and then, and hardly ever like a word.
_SURE, _SURE_IF_SHORT, SHORT = 0.6, 0.9, 2

NOT_YET = Spelled("", 0.0)
"""Of a line that is still to be read."""


@dataclass(frozen=True)
class ReadLine:
    """A line that was found, and what it says."""

    found: FoundLine
    spelled: Spelled

    @property
    def text(self) -> str:
        """What it says; empty where that is not sure enough to be words."""
        text = self.spelled.text
        needed = _SURE_IF_SHORT if len(text) <= SHORT else _SURE
        return text if self.spelled.confidence >= needed else ""

    @property
    def corners(self) -> Corners:
        """From where its text begins at its top, clockwise."""
        one, two, three, four = self.found.corners
        return (
            (one, two, three, four),
            (four, one, two, three),
            (three, four, one, two),
            (two, three, four, one),
        )[self.spelled.turned]

    @property
    def legible(self) -> bool:
        """Whether a closer view would not help: it is read well, or nothing that can be read."""
        seen, height = self.found.height_seen, self.found.height
        # From afar, a block of small type looks like one large line that cannot be read.
        hopeless = seen >= _LARGE and seen >= _NEARLY * height
        return seen >= _LEGIBLE and (hopeless or self.spelled.confidence >= _READ)


class Search:
    """The search for the lines of one picture.

    Args:
        pixels: of the picture, `[H, W, 3]`.
        models: the networks.
        most_pixels: of all views together. The view from afar is looked at in any case.
    """

    def __init__(self, pixels: NDArray[np.uint8], models: ReadingModels, most_pixels: int) -> None:
        self._pixels = pixels
        self._models = models
        self._left = most_pixels
        self._height, self._width = pixels.shape[:2]
        self._lines: list[ReadLine] = []

    def run(self) -> list[ReadLine]:
        """The lines, in no order, with some that say nothing.

        Raises:
            ValueError: a probability is NaN.
        """
        whole = (0, 0, self._width, self._height)
        parts, hints = self._look(whole, FAR, _FAR_SCALE)
        if (self._width * self._height) * _TOO_FAR**2 > FAR:
            known = [line.found for line in self._lines if line.legible]
            parts += fine_parts(self._pixels, self._models, known)
        # Texture hints at lines, too: all hints together cost no more than the view from afar.
        hints = [hint for hint in self._joined(hints) if not any(_touch(hint, x) for x in parts)]
        for hint in hints:
            parts += self._look_closer(hint, FAR / len(hints))
        most = float(FAR)
        while parts and self._left >= _LEAST_VIEW:
            most *= _CLOSER
            closer: list[Box] = []
            for part in self._joined(parts):
                if self._left >= _LEAST_VIEW:
                    closer += self._look_closer(part, min(most, self._left))
            parts = closer
        waiting = [line for line in self._lines if line.spelled is NOT_YET]
        read = self._spelled([line.found for line in waiting])
        return [line for line in self._lines if line.spelled is not NOT_YET] + read

    def _look_closer(self, part: Box, most: float) -> list[Box]:
        """Look at a part, and at a larger one while lines go on beyond it.

        Returns:
            The parts in which lines call for a closer view still.
        """
        while True:
            parts, _ = self._look(part, most, self._scale(part))
            larger = self._with_cut_lines(part)
            if larger == part or self._left < _LEAST_VIEW:
                return parts
            part, most = larger, min(most, self._left)

    def _scale(self, part: Box) -> float:
        """The most enlargement of a part: as much as its smallest line calls for, if one is known.

        Lines that were large enough and could not be read get all there is.
        """
        waiting = [
            line.found
            for line in self._lines
            if not line.legible and _touch(part, box_of(line.found, self._width, self._height))
        ]
        if not waiting or any(line.height_seen >= _LEGIBLE for line in waiting):
            return _SCALE
        return min(_SCALE, _ENOUGH / min(line.height for line in waiting))

    def _look(self, part: Box, most: float, scale: float) -> tuple[list[Box], list[Box]]:
        """Look at a part of the picture.

        Returns:
            The parts in which lines call for a closer view, and those where there may be lines.
        """
        x0, y0, x1, y1 = part
        view = resized(self._pixels[y0:y1, x0:x1], most, scale)
        rows, columns = view.shape[:2]
        self._left -= rows * columns
        size = ((x1 - x0) / columns, (y1 - y0) / rows)
        probability = probability_of(view, self._models)
        found = lines_in(probability, (x0, y0), size)
        # What a view from farther away shows longer is cut here.
        found = [line for line in found if not self._is_part_of_a_legible_one(line)]
        # Small ones wait for a closer view: they would be read twice.
        lines = self._spelled([line for line in found if line.height_seen >= _LEGIBLE])
        lines += [ReadLine(line, NOT_YET) for line in found if line.height_seen < _LEGIBLE]
        self._lines = [
            line for line in self._lines if _share(line.found, [new.found for new in lines]) < _SAME
        ] + lines
        if min(size) <= 1.05 / _SCALE:
            return [], []  # it is as large as it gets
        hot = (probability > _HINT).astype(np.uint8)
        illegible = np.zeros_like(hot)
        for line in self._lines:
            _fill(hot, line.found, part, size, 0 if line.legible else 1)
            if not line.legible:
                _fill(illegible, line.found, part, size, 1)
        return _parts(hot, illegible, part, size)

    def _spelled(self, found: Sequence[FoundLine]) -> list[ReadLine]:
        spelled = spell(self._pixels, found, self._models)
        return [ReadLine(*pair) for pair in zip(found, spelled, strict=True)]

    def _is_part_of_a_legible_one(self, line: FoundLine) -> bool:
        return any(
            other.legible and _share(line, [other.found]) >= _SAME > _share(other.found, [line])
            for other in self._lines
        )

    def _with_cut_lines(self, part: Box) -> Box:
        """The part, with as much again on the sides at which a line may go on."""
        x0, y0, x1, y1 = part
        across, down = x1 - x0, y1 - y0
        for line in self._lines:
            box = box_of(line.found, self._width, self._height)
            beyond = box[0] < part[0] - _CUT or box[2] > part[2] + _CUT
            if beyond or box[1] < part[1] - _CUT or box[3] > part[3] + _CUT:
                continue  # of another part, or known to be longer
            x0 = min(x0, part[0] - across * (box[0] < part[0] + _CUT))
            x1 = max(x1, part[2] + across * (box[2] > part[2] - _CUT))
            y0 = min(y0, part[1] - down * (box[1] < part[1] + _CUT))
            y1 = max(y1, part[3] + down * (box[3] > part[3] - _CUT))
        return max(x0, 0), max(y0, 0), min(x1, self._width), min(y1, self._height)

    def _joined(self, parts: Sequence[Box]) -> list[Box]:
        """Parts that touch become one, and too many become one around all."""
        joined: list[Box] = []
        for part in parts:
            again = True
            while again:
                touching = [other for other in joined if _touch(part, other)]
                again = bool(touching)
                joined = [other for other in joined if other not in touching]
                part = _around([part, *touching])
            joined.append(part)
        return joined if len(joined) <= _MOST_PARTS else [_around(joined)]


def _share(line: FoundLine, others: Sequence[FoundLine]) -> float:
    """Share of a line's surface that lies in others."""
    cv2 = require_cv2()
    own = np.array(line.corners, dtype=np.float32)
    inside = sum(
        cv2.intersectConvexConvex(own, np.array(other.corners, dtype=np.float32))[0]
        for other in others
    )
    return float(inside / max(line.width * line.height, 1e-6))


def _fill(
    hot: NDArray[np.uint8], line: FoundLine, part: Box, size: tuple[float, float], value: int
) -> None:
    cv2 = require_cv2()
    corners = np.rint((np.array(line.corners) - part[:2]) / size).astype(np.int32)[None]
    cv2.fillPoly(hot, corners, value)
    if not value:
        cv2.polylines(hot, corners, True, 0, _HALO)


def _parts(
    hot: NDArray[np.uint8], illegible: NDArray[np.uint8], part: Box, size: tuple[float, float]
) -> tuple[list[Box], list[Box]]:
    """The parts of the picture around what is hot in a view: those with a line, and the others."""
    cv2 = require_cv2()
    count, labels, stats, _ = cv2.connectedComponentsWithStats(hot, connectivity=8)
    specks = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] < _SPECK)
    hot = np.where(np.isin(labels, specks), np.uint8(0), hot) if len(specks) else hot
    wide = cv2.dilate(hot, np.ones((2 * _NEAR + 1, 4 * _NEAR + 1), np.uint8))
    count, _, stats, _ = cv2.connectedComponentsWithStats(wide, connectivity=8)
    parts: tuple[list[Box], list[Box]] = [], []
    for x, y, across, down, _ in stats[1:count].tolist():
        found = parts[0 if illegible[y : y + down, x : x + across].any() else 1]
        x0, y0 = part[0] + int(x * size[0]), part[1] + int(y * size[1])
        x1, y1 = part[0] + round((x + across) * size[0]), part[1] + round((y + down) * size[1])
        found.append((x0, y0, max(min(x1, part[2]), x0 + 1), max(min(y1, part[3]), y0 + 1)))
    return parts


def _touch(first: Box, second: Box) -> bool:
    across = min(first[2], second[2]) >= max(first[0], second[0])
    return across and min(first[3], second[3]) >= max(first[1], second[1])


def _around(boxes: Sequence[Box]) -> Box:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)
