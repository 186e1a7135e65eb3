"""Lines of words without a picture, and a guard that knows a few words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from guardalign_middleware.words.guards.guard import Assessment
from guardalign_middleware.words.line import WordLine


def line(
    text: str, x: float = 10, y: float = 10, *, height: float = 20, angle: float = 0.0
) -> WordLine:
    """A line of `height`, whose letters are half as wide, with its upper left corner at x, y."""
    turn = math.radians(angle)
    along = (math.cos(turn), math.sin(turn))
    width = 0.5 * height * len(text)
    corners = tuple(
        (x + a * along[0] - b * along[1], y + a * along[1] + b * along[0])
        for a, b in ((0, 0), (width, 0), (width, height), (0, height))
    )
    xs, ys = ([corner[axis] for corner in corners] for axis in (0, 1))
    box = (math.floor(min(xs)), math.floor(min(ys)), math.ceil(max(xs)), math.ceil(max(ys)))
    first, second, third, fourth = corners
    return WordLine(text, box, (first, second, third, fourth), angle, 0.99)


def column(*texts: str, x: float = 10, y: float = 10, height: float = 20) -> list[WordLine]:
    """Lines of a paragraph, each half a height below the one before."""
    return [
        line(text, x, y + number * 1.5 * height, height=height) for number, text in enumerate(texts)
    ]


class WordGuard:
    """Distance 0 for texts with all of its words, 1 for others; counts what it was asked."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.asked: list[tuple[str, ...]] = []

    @property
    def fingerprint(self) -> str:
        return f"words:{self.words}"

    def assess(self, texts: Sequence[str]) -> tuple[Assessment, ...]:
        self.asked.append(tuple(texts))
        return tuple(
            Assessment("bad", 0.0 if all(word in text for word in self.words) else 1.0)
            for text in texts
        )
