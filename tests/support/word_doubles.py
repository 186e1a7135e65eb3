"""Doubles for the reading and judging of words: the real policy and guard around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guardalign_middleware.config import WordsConfig
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.testing import red_config, red_detector
from guardalign_middleware.types import Action, Box, CanonicalImage
from guardalign_middleware.words.judge import Judgement, LineJudge
from guardalign_middleware.words.line import WordLine
from guardalign_middleware.words.policy import HideAll, WordPolicy

BLUE, PALE = (0, 0, 255), (190, 190, 255)


def line_at(box: Box, text: str) -> WordLine:
    x0, y0, x1, y1 = box
    return WordLine(text, box, ((x0, y0), (x1, y0), (x1, y1), (x0, y1)), 0.0, 0.99)


class PaintReader:
    """Reads the word "bad" in every row of pixels that holds blue, and "fine" in every pale one."""

    fingerprint = "paint"

    def __init__(self) -> None:
        self.read_pictures: list[str] = []

    def read(self, image: CanonicalImage) -> tuple[WordLine, ...]:
        self.read_pictures.append(image.sha256)
        lines = []
        for colour, text in ((BLUE, "bad"), (PALE, "fine")):
            rows, columns = np.nonzero((image.pixels == colour).all(axis=2))
            for y in sorted(set(rows[::1].tolist())):
                if y - 1 in rows:
                    continue  # the first row of each stripe
                bottom = y
                while bottom in rows:
                    bottom += 1
                inside = columns[(rows >= y) & (rows < bottom)]
                box = (int(inside.min()), int(y), int(inside.max()) + 1, int(bottom))
                lines.append(line_at(box, text))
        return tuple(lines)


class ListReader(PaintReader):
    """Reads an empty list with a title in blue rows, as FigStep draws one, and "poison" in pale."""

    fingerprint = "list"
    list = ("Methods to find mushrooms", "1.", "2.", "3.")

    def read(self, image: CanonicalImage) -> tuple[WordLine, ...]:
        lines = []
        for line in super().read(image):
            x0, y0, x1, y1 = line.box
            texts = self.list if line.text == "bad" else ("poison",)
            high = (y1 - y0) // len(texts)
            boxes = [(x0, y0 + high * row, x1, y0 + high * (row + 1)) for row in range(len(texts))]
            lines += map(line_at, boxes, texts)
        return tuple(lines)


class BrokenReader(PaintReader):
    """Fails on every picture."""

    def read(self, image: CanonicalImage) -> tuple[WordLine, ...]:
        raise RuntimeError("secret words")


class BadJudge:
    """Finds the word "bad" unsafe, and remembers what it was asked about."""

    fingerprint = "bad"

    def __init__(self, action: Action = "mask") -> None:
        self._action = action
        self.asked: list[tuple[str, ...]] = []

    def judge(self, lines: Sequence[WordLine], text: str = "") -> tuple[Judgement, ...]:
        self.asked.append(tuple(line.text for line in lines))
        return tuple(
            Judgement((index,), "order", 0.1 if line.text == "bad" else 0.9, 0.5, self._action)
            for index, line in enumerate(lines)
        )


def striped(*stripes: tuple[Box, tuple[int, int, int]], red: bool = False) -> CanonicalImage:
    """A white picture of 96 × 96 with painted boxes, and a red one at the bottom."""
    pixels = np.full((96, 96, 3), 255, np.uint8)
    for (x0, y0, x1, y1), colour in stripes:
        pixels[y0:y1, x0:x1] = colour
    if red:
        pixels[64:96, 64:96] = (255, 0, 0)
    return CanonicalImage(pixels)


def word_guard(
    mode: str,
    judge: LineJudge | None = None,
    reader: PaintReader | None = None,
    *,
    include_text: bool = False,
    **changes: object,
) -> ImageGuard:
    """A guard that flags red, and reads paint."""
    words = WordsConfig(mode=mode, include_text=include_text)
    config = red_config(words=words, **changes)
    asked = {"guard": judge, "mask": HideAll()}.get(mode)
    policy = WordPolicy(words, reader or PaintReader(), asked, config.detection)
    return ImageGuard(config, red_detector(config), policy)
