"""Reading the words of a picture."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.types import Box, CanonicalImage
from guardalign_middleware.words.direction import (
    angle_of,
    main_quarter,
    quarter_of,
    turned_back,
    with_upright_marks,
)
from guardalign_middleware.words.find import box_of
from guardalign_middleware.words.letter_rows import with_joined_letters
from guardalign_middleware.words.line import WordLine
from guardalign_middleware.words.look import ReadLine, Search
from guardalign_middleware.words.models import Allowance, ReadingModels, shared_models

# Changes when the same networks may read other words.
_RECIPE = 6
# Of the pixels of all views, columns of strips: as many as lines of 16 pixels have on a view that
# is mostly text. A quarter of them for other directions, which ordinary pages hardly need.
_COLUMNS, _AGAIN = 1 / 8, 1 / 4
# Letters that the network does not know: surely a line, and shaped like one.
_CLEAR, _LONG = 0.7, 2.0
# Of the levels around a line, in percent: without the odd pixel, and thin letters are few.
_ENDS = (1.0, 99.0)


class WordReader(Protocol):
    """Reads the words of pictures; threads may share it."""

    @property
    def fingerprint(self) -> str:
        """Differs for readers that may read differently."""
        ...

    def read(self, image: CanonicalImage) -> tuple[WordLine, ...]:
        """The lines of a picture in reading order; those that cannot be read have no text.

        Raises:
            ValueError: a network gave NaN.
        """
        ...


class RapidReader:
    """Reads with the networks of RapidOCR, on the CPU and without any network access.

    It looks at the whole picture from afar, in eight samples at type that is small there, and then
    closer wherever there may be words, until `max_pixels` are spent. What is found is spelled
    within an allowance, and unread beyond it. A picture in which most letters run another way than
    rightwards is turned and read once more. Equal pictures are read equally.

    Args:
        models: the networks.
        max_pixels: of all views of one picture in one reading.
    """

    def __init__(self, models: ReadingModels, max_pixels: int) -> None:
        self.models = models
        self._max_pixels = max_pixels

    @classmethod
    def load(cls, max_pixels: int) -> Self:
        """Load the networks, which use as many threads as torch has now.

        Raises:
            ConfigError: the extra `words` is not installed, or in another version.
            ModelLoadError: a weight file is not the known one, or cannot be loaded.
        """
        import torch

        return cls(shared_models(torch.get_num_threads()), max_pixels)

    @property
    def fingerprint(self) -> str:
        """Differs for readers that may read differently."""
        return f"rapidocr:{self.models.fingerprint}:{_RECIPE}:{self._max_pixels}"

    def read(self, image: CanonicalImage) -> tuple[WordLine, ...]:
        """The lines of a picture in reading order; those that cannot be read have no text.

        Raises:
            ValueError: a network gave NaN.
        """
        pixels = image.pixels
        found = self._search(pixels)
        quarters = main_quarter(found)
        if quarters:
            # The networks read any direction, but marks and rows only as they stand upright.
            pixels = np.ascontiguousarray(np.rot90(pixels, quarters))
            found = self._search(pixels)
        size = (pixels.shape[1], pixels.shape[0])
        read = with_upright_marks(pixels, found, self._bounded())
        lines = [line for line in (_word_line(one, pixels) for one in read) if line is not None]
        return _in_reading_order([turned_back(line, quarters, size) for line in lines])

    def _bounded(self) -> ReadingModels:
        columns = self._max_pixels * _COLUMNS
        return self.models.bounded(Allowance(columns, columns * _AGAIN))

    def _search(self, pixels: NDArray[np.uint8]) -> list[ReadLine]:
        models = self._bounded()
        found = Search(pixels, models, self._max_pixels).run()
        return with_joined_letters(pixels, found, models)


def _word_line(line: ReadLine, pixels: NDArray[np.uint8]) -> WordLine | None:
    """A line as it is handed out; None where there are no words."""
    found = line.found
    clear = found.score >= _CLEAR and found.width >= _LONG * found.height
    if not (line.text or line.spelled.skipped or clear):
        return None
    confidence = min(max(line.spelled.confidence, 0.0), 1.0)
    box = box_of(found, pixels.shape[1], pixels.shape[0])
    angle = angle_of(line.corners)
    return WordLine(line.text, box, line.corners, angle, confidence, _contrast(pixels, box))


def _contrast(pixels: NDArray[np.uint8], box: Box) -> float:
    """How far the letters in a box differ from their ground, in the colour that differs most."""
    x0, y0, x1, y1 = box
    inside = pixels[y0:y1, x0:x1].reshape(-1, 3)
    low, high = np.percentile(inside, _ENDS, axis=0)
    return float((high - low).max())


def _in_reading_order(lines: Sequence[WordLine]) -> tuple[WordLine, ...]:
    """From top to bottom as the lines themselves stand, those of each direction together."""
    ordered: list[WordLine] = []
    for quarter in range(4):
        ordered += _rows([line for line in lines if quarter_of(line.angle) == quarter])
    return tuple(ordered)


def _rows(lines: Sequence[WordLine]) -> list[WordLine]:
    """From top to bottom; what stands side by side, from left to right."""
    boxes = {id(line): _turned_upright(line) for line in lines}

    def middle(line: WordLine) -> float:
        _, top, _, bottom = boxes[id(line)]
        return (top + bottom) / 2

    waiting = sorted(lines, key=middle)
    ordered: list[WordLine] = []
    while waiting:
        _, _, _, end = boxes[id(waiting[0])]
        level = middle(waiting[0])
        row: list[WordLine] = []
        below: list[WordLine] = []
        # Ordered by their middles, so that those of the row are among the first.
        near = bisect_left(waiting, float(end), key=middle)
        for line in waiting[:near]:
            reaches = boxes[id(line)][1] <= level < boxes[id(line)][3]
            (row if reaches else below).append(line)
        ordered += sorted(row, key=lambda line: boxes[id(line)][0])
        waiting = below + waiting[near:]
    return ordered


def _turned_upright(line: WordLine) -> Box:
    """The line's box, once the picture is turned by quarters so that the line runs rightwards."""
    x0, y0, x1, y1 = line.box
    quarters = ((x0, y0, x1, y1), (y0, -x1, y1, -x0), (-x1, -y1, -x0, -y0), (-y1, x0, -y0, x1))
    return quarters[quarter_of(line.angle)]
