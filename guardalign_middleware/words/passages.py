"""Passages: lines that stand together, as one text whose parts are traced back to their lines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from guardalign_middleware.words.line import WordLine
from guardalign_middleware.words.plain import plain

# In heights of the larger line. Lines of a paragraph are set apart by about 0.3 to 0.9, boxes of a
# reader are a little larger than the letters; a blank line between paragraphs is 1.5 and more.
_GAP_BELOW = 1.1
_GAP_BESIDE = 2.5
_SIZE_RATIO = 1.8
_TURN = 10.0

UprightBox = tuple[float, float, float, float]
"""Left, top, right and bottom."""


@dataclass(frozen=True)
class Passage:
    """Lines read as one text.

    Attributes:
        lines: indices of the lines, in reading order.
        text: what they say, joined by spaces.
        plain: the same as `plain.plain` gives it.
        starts: where each line begins in `plain`.
    """

    lines: tuple[int, ...]
    text: str
    plain: str
    starts: tuple[int, ...]

    @classmethod
    def of(cls, lines: Sequence[WordLine], indices: Sequence[int]) -> Passage:
        """The lines of these indices, in this order."""
        starts, parts, length = [], [], 0
        for index in indices:
            part = plain(lines[index].text)
            starts.append(length)
            parts.append(part)
            length += len(part) + 1
        text = " ".join(lines[index].text for index in indices)
        return cls(tuple(indices), text, " ".join(parts), tuple(starts))

    def lines_at(self, start: int, end: int) -> tuple[int, ...]:
        """The lines that `plain[start:end]` touches."""
        ends = (*self.starts[1:], len(self.plain) + 1)
        return tuple(
            line
            for line, first, last in zip(self.lines, self.starts, ends, strict=True)
            if first < end and start < last - 1
        )


def upright(line: WordLine) -> UprightBox:
    """The line's box after its own turn is undone."""
    angle = math.radians(-line.angle)
    cos, sin = math.cos(angle), math.sin(angle)
    xs = [x * cos - y * sin for x, y in line.corners]
    ys = [x * sin + y * cos for x, y in line.corners]
    return min(xs), min(ys), max(xs), max(ys)


def passages(lines: Sequence[WordLine]) -> tuple[Passage, ...]:
    """Lines that stand close together in about one size and direction, as passages.

    Every line is in exactly one passage. Passages and their lines keep the reading order.
    """
    boxes = [upright(line) for line in lines]
    found = grouped(range(len(lines)), links(lines, boxes))
    return tuple(Passage.of(lines, indices) for indices in found)


def links(lines: Sequence[WordLine], boxes: Sequence[UprightBox]) -> list[tuple[int, int]]:
    """The pairs of lines that stand close together; `boxes` are their `upright` ones."""
    return [
        (one, other)
        for one, other in near(boxes, _GAP_BELOW * _SIZE_RATIO)
        if abs((lines[one].angle - lines[other].angle + 180.0) % 360.0 - 180.0) <= _TURN
        and _together(boxes[one], boxes[other])
    ]


def grouped(indices: Iterable[int], pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Ascending indices in groups that pairs connect, ordered by the first of each."""
    parents = {index: index for index in indices}

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for pair in pairs:
        first, second = sorted(map(root, pair))
        parents[second] = first
    groups: dict[int, list[int]] = {}
    for index in parents:
        groups.setdefault(root(index), []).append(index)
    return list(groups.values())


def near(boxes: Sequence[UprightBox], reach: float) -> Iterator[tuple[int, int]]:
    """The pairs of boxes of which the upper one, with `reach` heights more, gets to the lower one.

    All pairs of a page would be a million; only what is near is compared.
    """
    above: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda index: boxes[index][1]):
        top = boxes[index][1]
        above = [
            other
            for other in above
            if boxes[other][3] + reach * (boxes[other][3] - boxes[other][1]) >= top
        ]
        for other in above:
            yield other, index
        above.append(index)


def same_row(one: UprightBox, other: UprightBox, share: float = 0.5) -> bool:
    """Whether two upright boxes share more than so much of the lower one's height."""
    shared = min(one[3], other[3]) - max(one[1], other[1])
    return shared > share * min(one[3] - one[1], other[3] - other[1])


def _together(one: UprightBox, other: UprightBox) -> bool:
    heights = sorted((one[3] - one[1], other[3] - other[1]))
    if heights[1] > _SIZE_RATIO * max(heights[0], 1e-9):
        return False
    beside = max(one[0], other[0]) - min(one[2], other[2])
    if same_row(one, other):
        return beside <= _GAP_BESIDE * heights[1]
    below = max(one[1], other[1]) - min(one[3], other[3])
    return beside < 0 and below <= _GAP_BELOW * heights[1]
