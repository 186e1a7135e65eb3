"""Text in columns, which people read one after another and a row runs across."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from guardalign_middleware.words.line import WordLine
from guardalign_middleware.words.passages import (
    Passage,
    UprightBox,
    grouped,
    links,
    near,
    same_row,
    upright,
)

# Numbers and marks beside a text are no column of their own.
_WORD = re.compile(r"[^\W\d_]{2}")
# Rows of columns need not be level: half a row lower, lines still share this much of their height.
_LEVEL = 0.15


class _Gap(NamedTuple):
    """What is free between two lines side by side, from the left one's end on."""

    start: float
    end: float
    left: int
    right: int


def _columns(
    lines: Sequence[WordLine],
    boxes: Sequence[UprightBox],
    pairs: Sequence[tuple[int, int]],
    groups: Sequence[Sequence[int]],
) -> list[list[int]]:
    """The groups of a page, with a group in columns parted at the edges between them.

    An edge is a gap that is free in two rows or more of a group, with words on both sides. A
    line over several columns, such as a headline, is parted from those below and above it.

    Args:
        lines: of the page.
        boxes: theirs.
        pairs: lines that stand close together.
        groups: what these make up.
    """
    group_of = {index: number for number, group in enumerate(groups) for index in group}
    gaps: dict[int, list[_Gap]] = defaultdict(list)
    for gap in _gaps(lines, boxes, group_of):
        gaps[group_of[gap.left]].append(gap)
    edges = {number: _edges(found) for number, found in gaps.items()}
    beside: dict[int, list[_Gap]] = defaultdict(list)
    for gap in (one for found in edges.values() for one in found):
        beside[gap.left].append(gap)
        beside[gap.right].append(gap)
    kept = [
        pair
        for pair in pairs
        if not any(
            _parts(gap, boxes[one], boxes[other])
            for one, other in (pair, pair[::-1])
            for gap in beside[one]
        )
    ]
    return grouped(range(len(lines)), kept)


def _parts(gap: _Gap, own: UprightBox, other: UprightBox) -> bool:
    """Whether an edge parts a line of a column from another one: it lies across, or beyond."""
    if other[0] <= gap.start and other[2] >= gap.end:
        return True
    return other[0] >= gap.end if own[2] <= gap.start else other[2] <= gap.start


def _gaps(
    lines: Sequence[WordLine], boxes: Sequence[UprightBox], group_of: dict[int, int]
) -> Iterator[_Gap]:
    """The gaps between lines of a passage with nothing between them."""
    right_of: dict[int, list[int]] = defaultdict(list)
    for pair in near(boxes, 0.0):
        left, right = sorted(pair, key=lambda index: boxes[index][0])
        if (
            group_of[left] == group_of[right]
            and boxes[left][2] < boxes[right][0]
            and same_row(boxes[left], boxes[right], _LEVEL)
            and _WORD.search(lines[left].text)
            and _WORD.search(lines[right].text)
        ):
            right_of[left].append(right)
    for left, found in right_of.items():
        found.sort(key=lambda index: boxes[index][0])
        for number, right in enumerate(found):
            start, end = boxes[left][2], boxes[right][0]
            if not any(
                boxes[other][2] <= end and same_row(boxes[other], boxes[right], _LEVEL)
                for other in found[:number]
            ):
                yield _Gap(start, end, left, right)


def _edges(gaps: Sequence[_Gap]) -> list[_Gap]:
    """The gaps that go on in another row."""
    edges = set()
    widest: _Gap | None = None
    for gap in sorted(gaps):
        if widest is not None and gap.start < widest.end:
            edges |= {gap, widest}
        if widest is None or gap.end > widest.end:
            widest = gap
    return sorted(edges)


class Layout(NamedTuple):
    """The ways in which the lines of a picture can be read; all of them are judged.

    Attributes:
        rows: its passages, each read row by row.
        columns: its passages, each column by itself; as `rows` without columns.
        orders: of all lines: row by row, and passage by passage if that is another order.
    """

    rows: tuple[Passage, ...]
    columns: tuple[Passage, ...]
    orders: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, lines: Sequence[WordLine]) -> Layout:
        """The layout of lines in reading order.

        Every line is in exactly one of the rows and one of the columns, which keep the order of
        their first lines.
        """
        boxes = [upright(line) for line in lines]
        pairs = links(lines, boxes)
        rows = grouped(range(len(lines)), pairs)
        columns = _columns(lines, boxes, pairs, rows)
        parted = tuple(index for group in columns for index in group)
        orders = dict.fromkeys((tuple(range(len(lines))), parted))
        return cls(
            tuple(Passage.of(lines, group) for group in rows),
            tuple(Passage.of(lines, group) for group in columns),
            tuple(orders),
        )

    @property
    def parts(self) -> tuple[Passage, ...]:
        """Each passage, and each column of several lines as a text of its own."""
        known = {one.lines for one in self.rows}
        columns = [one for one in self.columns if len(one.lines) > 1 and one.lines not in known]
        return (*self.rows, *columns)
