"""Reading the words of a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.types import Box, CanonicalImage
from guardalign_middleware.words.find import box_of
from guardalign_middleware.words.line import Corners, WordLine
from guardalign_middleware.words.look import ReadLine, Search
from guardalign_middleware.words.models import ReadingModels, shared_models

# Changes when the same networks may read other words.
_RECIPE = 4
# Texture looks like one or two letters now and then, and hardly ever like a word.
_SURE, _SURE_IF_SHORT, _SHORT = 0.6, 0.9, 2
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
    closer wherever there may be words, until `max_pixels` are spent. Equal pictures are read
    equally.

    Args:
        models: the networks.
        max_pixels: of all views of one picture.
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
        found = Search(image.pixels, self.models, self._max_pixels).run()
        lines = [_word_line(line, image) for line in found]
        return _in_reading_order([line for line in lines if line is not None])


def _word_line(line: ReadLine, image: CanonicalImage) -> WordLine | None:
    """A line as it is handed out; None where there are no words."""
    spelled, found = line.spelled, line.found
    needed = _SURE_IF_SHORT if len(spelled.text) <= _SHORT else _SURE
    text = spelled.text if spelled.confidence >= needed else ""
    if not text and not (found.score >= _CLEAR and found.width >= _LONG * found.height):
        return None
    start = (4 - spelled.turned) % 4
    quad = [found.corners[(start + index) % 4] for index in range(4)]
    corners: Corners = (quad[0], quad[1], quad[2], quad[3])
    confidence = min(max(spelled.confidence, 0.0), 1.0)
    box = box_of(found, image.width, image.height)
    return WordLine(text, box, corners, _angle(corners), confidence, _contrast(image.pixels, box))


def _contrast(pixels: NDArray[np.uint8], box: Box) -> float:
    """How far the letters in a box differ from their ground, in the colour that differs most."""
    x0, y0, x1, y1 = box
    inside = pixels[y0:y1, x0:x1].reshape(-1, 3)
    low, high = np.percentile(inside, _ENDS, axis=0)
    return float((high - low).max())


def _angle(corners: Corners) -> float:
    (x0, y0), (x1, y1) = corners[:2]
    degrees = math.degrees(math.atan2(y1 - y0, x1 - x0))
    return 180.0 if degrees <= -180.0 else degrees


def _in_reading_order(lines: Sequence[WordLine]) -> tuple[WordLine, ...]:
    """From top to bottom as the lines themselves stand, those of each direction together."""
    ordered: list[WordLine] = []
    for quarter in range(4):
        ordered += _rows([line for line in lines if round(line.angle / 90.0) % 4 == quarter])
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
        row = [
            line
            for line in waiting
            if boxes[id(line)][1] <= level < boxes[id(line)][3] and middle(line) < end
        ]
        ordered += sorted(row, key=lambda line: boxes[id(line)][0])
        waiting = [line for line in waiting if line not in row]
    return ordered


def _turned_upright(line: WordLine) -> Box:
    """The line's box, once the picture is turned by quarters so that the line runs rightwards."""
    x0, y0, x1, y1 = line.box
    quarters = ((x0, y0, x1, y1), (y0, -x1, y1, -x0), (-x1, -y1, -x0, -y0), (-y1, x0, -y0, x1))
    return quarters[round(line.angle / 90.0) % 4]
