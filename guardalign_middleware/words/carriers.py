"""Carriers: lists in a picture that are empty and ask the model to fill them, as FigStep's do.

The words of such a picture can be harmless and its question always is; the form carries the attack.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from guardalign_middleware.words.carrier_patterns import (
    ASKED,
    ASKED_TITLE,
    BLANK,
    BULLET,
    CLOSED_FILL,
    CLOSED_HOW_TO,
    FILL,
    HOW_TO,
    NUMBER_WORDS,
    RUN,
    SURE_NOUNS,
)
from guardalign_middleware.words.line import WordLine
from guardalign_middleware.words.passages import UprightBox, near, same_row, upright
from guardalign_middleware.words.plain import plain

CARRIER = "carrier"
_TITLE_LINES, _TITLE_LINES_BELOW = 12, 3
# Of a list whose marks could be labels or page numbers.
_TITLE_LINES_OF_LABELS = 8
# How sure each form is; distances, low = unsafe.
_ASKED_AND_HOW_TO, _TITLE_HOW_TO, _FILL_IN, _OTHER_TITLE = 0.05, 0.15, 0.3, 0.75
# Lines that differ by more are turned against each other.
_MOST_TURNED = 45.0
CARRIER_THRESHOLD = 0.5
"""Distances at or below it belong to lists that ask to be filled."""


@dataclass(frozen=True)
class Carrier:
    """An empty list, with what stands above it, or below.

    Attributes:
        lines: indices of the title's and the list's lines.
        distance: how surely it asks to be filled, 0 to 1; low = surely.
    """

    lines: tuple[int, ...]
    distance: float


@dataclass(frozen=True)
class _Blank:
    """An empty item.

    Attributes:
        line: its index.
        number: None for bullets.
        count: more than 1 for a run in a line.
        bare: whether it is a number alone.
        label: whether it could be a label or a page's number: nothing marks the place as empty.
    """

    line: int
    number: int | None
    count: int = 1
    bare: bool = False
    label: bool = False


def find_carriers(lines: Sequence[WordLine], text: str = "") -> tuple[Carrier, ...]:
    """Empty lists with their titles.

    A list is two or more empty items in order, of which most of the list consists. Its title
    tells it from harmless forms: "Steps to …", "Methods for …", "List of …", "How to …", or a
    request to fill it in. Exams, worksheets and forms with blanks have questions or names there,
    and stay above the threshold.

    Args:
        lines: of a picture, in reading order.
        text: what the user says with it.
    """
    marks = [_marks_below_each_other(line, lines) for line in lines]
    boxes = [
        upright(line) if mark is None else line.box for line, mark in zip(lines, marks, strict=True)
    ]
    words = [mark or plain(line.text) for line, mark in zip(lines, marks, strict=True)]
    groups = _groups(words, boxes)
    if not groups:
        return ()
    asked = plain(text)
    found = []
    for group in groups:
        own = {blank.line for blank in group}
        above, below = _titles(group, words, boxes)
        sides = [
            (_distance(_told(title, words), asked), title) for title in (above, below) if title
        ]
        # The title can stand in the question instead.
        if not sides:
            sides = [(_distance(asked, asked), above)]
        elif _asks(asked):
            sides.append((_ASKED_AND_HOW_TO, above))
        distance, title = min(sides, key=lambda side: side[0])
        found.append(Carrier(tuple(sorted(own | set(title))), distance))
    return tuple(found)


def _marks_below_each_other(line: WordLine, lines: Sequence[WordLine]) -> str | None:
    """The marks of an empty list that was read as one line from above, as "123"; else None."""
    if len(line.text) < 2 or not "123456789".startswith(line.text):
        return None
    others = [other for other in lines if other is not line]
    if not _MOST_TURNED < line.angle % 180.0 < 180.0 - _MOST_TURNED or any(
        _continues(line, other) for other in others
    ):
        return None
    return " ".join(f"{number}." for number in line.text)


def _continues(line: WordLine, other: WordLine) -> bool:
    """Whether another line has the direction of a column of marks, or stands beside it."""
    turn = abs((line.angle - other.angle + 90.0) % 180.0 - 90.0)
    beside = other.box[1] < line.box[3] and line.box[1] < other.box[3]
    return turn <= _MOST_TURNED or beside


def _titles(
    group: Sequence[_Blank], words: Sequence[str], boxes: Sequence[UprightBox]
) -> tuple[list[int], list[int]]:
    """The lines that can be a list's title: above it, and below it if these are as near."""
    first, last = group[0].line, group[-1].line
    labels = all(blank.label for blank in group)
    most = _TITLE_LINES_OF_LABELS if labels else _TITLE_LINES
    above = [
        index
        for index in range(max(0, first - most), first + (group[0].count > 1))
        if not _is_item(words[index]) and _without_run(words[index]).strip()
    ]
    below = [
        index
        for index in range(last + 1, min(len(words), last + 1 + _TITLE_LINES_BELOW))
        if not labels and not _is_item(words[index])
    ]
    if above and below and above[-1] != first:
        gap_above = boxes[first][1] - boxes[above[-1]][3]
        gap_below = boxes[below[0]][1] - boxes[last][3]
        below = below if gap_below <= max(gap_above, 0.0) else []
    return above, below


def _told(title: Sequence[int], words: Sequence[str]) -> str:
    return " ".join(_without_run(words[index]) for index in title).strip()


def _sentences(text: str) -> list[str]:
    # A headline above the title is no part of it, and a sentence may end before it.
    return [part for part in (text, *re.split(r"(?<=[.!?:])\s+", text)) if part]


def _distance(title: str, asked: str) -> float:
    if CLOSED_HOW_TO.search(title) or any(HOW_TO.search(part) for part in _sentences(title)):
        return _ASKED_AND_HOW_TO if ASKED.search(asked) else _TITLE_HOW_TO
    return _FILL_IN if FILL.search(title) or CLOSED_FILL.search(title) else _OTHER_TITLE


def _asks(asked: str) -> bool:
    """Whether a question has a title of its own for the list, and asks to fill it."""
    titled = any(ASKED_TITLE.search(part) for part in _sentences(asked))
    return titled and ASKED.search(asked) is not None


def _groups(words: Sequence[str], boxes: Sequence[UprightBox]) -> list[list[_Blank]]:
    """Runs of at least two empty items whose numbers rise one by one, fall, or are equal."""
    groups: list[list[_Blank]] = []
    continued = _continued(words, boxes)
    for index, text in enumerate(words):
        blank = _blank(index, text)
        if blank is None or index in continued:
            continue
        last = groups[-1][-1] if groups else None
        if last is not None and _follows(groups[-1], blank, words):
            groups[-1].append(blank)
        else:
            groups.append([blank])
    return [group for group in groups if sum(blank.count for blank in group) > 1]


def _blank(index: int, text: str) -> _Blank | None:
    if run := _run(text):
        numbers = re.findall(r"\d{1,2}", run[0])
        return _Blank(index, int(numbers[-1]), len(numbers))
    if BULLET.match(text):
        return _Blank(index, None)
    match = BLANK.match(text)
    if match is None:
        return None
    number, noun = match["number"], match["word"].rstrip(" .:-–—")
    marked = bool(match["sign"] or match["empty"].strip())
    if number in NUMBER_WORDS or number.endswith(("st", "nd", "rd", "th")):
        sure = match["sign"] or (noun and marked)
    elif noun:
        sure = marked or noun in SURE_NOUNS
    else:
        sure = match["sign"] or number.isdigit()
    if not sure:
        return None
    bare = not (match["sign"] or noun)
    return _Blank(index, _value(number), bare=bare, label=not marked)


def _run(text: str) -> re.Match[str] | None:
    """The empty marks at the end of a text, if they are two or more."""
    runs = (run for run in RUN.finditer(text) if run.end() == len(text))
    return next(runs, None)


def _without_run(text: str) -> str:
    run = _run(text)
    return text[: run.start()] if run else text


def _value(number: str) -> int:
    """The value of a mark; readers take 1 for l or i."""
    if number[0].isdigit():
        return int(number.rstrip("sthndr"))
    if number in NUMBER_WORDS:
        return NUMBER_WORDS[number]
    roman = {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5, "vi": 6, "vii": 7, "viii": 8, "l": 1}
    return roman.get(number, ord(number[0]) - ord("a") + 1)


def _follows(group: Sequence[_Blank], blank: _Blank, words: Sequence[str]) -> bool:
    """Whether an empty item goes on with the list; one mark in between may be misread."""
    last = group[-1]
    if any(not _is_item(words[index]) for index in range(last.line + 1, blank.line)):
        return False
    if last.number is None or blank.number is None:
        return last.number is blank.number
    step = blank.number - last.number
    if len(group) > 1 and group[-2].number is not None:
        before = last.number - group[-2].number
        if (step > 0) != (before > 0) or (step < 0) != (before < 0):
            return False
    # Columns of bare numbers fall and are equal by chance; Markdown numbers each item 1.
    return 1 <= step <= 2 or (-2 <= step <= 0 and not (last.bare or blank.bare))


def _is_item(text: str) -> bool:
    return BLANK.match(text) is not None or BULLET.match(text) is not None


def _continued(words: Sequence[str], boxes: Sequence[UprightBox]) -> set[int]:
    """The lines to the right of which words stand: readers cut "1." off from its item."""
    worded = [
        re.search(r"\w", text.replace("_", "")) is not None and not _is_item(text) for text in words
    ]
    return {
        one
        for pair in near(boxes, 0.0)
        for one, other in (pair, pair[::-1])
        if worded[other] and boxes[other][0] >= boxes[one][0] and same_row(boxes[one], boxes[other])
    }
