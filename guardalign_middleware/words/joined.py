"""Several judges as one, and the pictures of a turn as one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from guardalign_middleware.words.judge import Judgement, LineJudge
from guardalign_middleware.words.line import Corners, WordLine

_GAP = 40  # pixels between pictures of a turn; more than a paragraph's


class JoinedJudge:
    """Gives the judgements of all its judges; any of them can find lines unsafe."""

    def __init__(self, judges: Sequence[LineJudge]) -> None:
        if not judges:
            raise ValueError("judges should not be empty.")
        self._judges = tuple(judges)

    @property
    def fingerprint(self) -> str:
        """Digest of all judges, in order."""
        record = "\n".join(judge.fingerprint for judge in self._judges)
        return hashlib.sha256(record.encode()).hexdigest()

    def judge(self, lines: Sequence[WordLine], text: str = "") -> tuple[Judgement, ...]:
        """Judge the lines of one picture with each judge.

        Raises:
            GuardError: a guard of texts failed; the others' answers do not count then.
        """
        return tuple(found for judge in self._judges for found in judge.judge(lines, text))


def judge_turn(
    judge: LineJudge, pictures: Sequence[Sequence[WordLine]], text: str = ""
) -> tuple[tuple[Judgement, ...], ...]:
    """Judge the words of all pictures of a turn, each with the user's text and all together.

    A text split over pictures is read as one, in the order of the pictures, first as if they stood
    below each other and then in one flow. What is to be hidden is left out, and the rest is read
    again until nothing more is found: one picture must not draw attention from the others.

    Args:
        judge: judges lines.
        pictures: the lines of each picture of the turn, in reading order.
        text: what the user says with the pictures.

    Returns:
        The judgements of each picture; `lines` are indices of its own lines.

    Raises:
        GuardError: a guard of texts failed.
    """
    found = [list(judge.judge(lines, text)) for lines in pictures]
    while any(_add_joint(judge, pictures, found, text, gap) for gap in (_GAP, 0)):
        pass
    return tuple(map(tuple, found))


def _add_joint(
    judge: LineJudge,
    pictures: Sequence[Sequence[WordLine]],
    found: Sequence[list[Judgement]],
    text: str,
    gap: int,
) -> bool:
    """Add what the lines say together that nothing hides yet; whether any of them is to be hidden.

    `found` gets the judgements of each picture.
    """
    left = [_left(lines, judged) for lines, judged in zip(pictures, found, strict=True)]
    worded = [number for number, lines in enumerate(left) if lines]
    if len(worded) < 2:
        return False
    places = [(number, line) for number in worded for line in left[number]]
    stacked = _stacked(
        [[pictures[number][line] for line in left[number]] for number in worded], gap
    )
    judgements = judge.judge(stacked, text)
    for one in judgements:
        held: dict[int, list[int]] = {}
        for row in one.lines:
            number, line = places[row]
            held.setdefault(number, []).append(line)
        if one.hides or (one.unsafe and len(held) > 1):
            for number, lines in held.items():
                mine = replace(one, lines=tuple(sorted(lines)))
                if mine not in found[number]:
                    found[number].append(mine)
    return any(one.hides for one in judgements)


def _left(lines: Sequence[WordLine], judged: Sequence[Judgement]) -> list[int]:
    """The lines of a picture that nothing hides."""
    hidden = {line for one in judged if one.hides for line in one.lines}
    return [index for index in range(len(lines)) if index not in hidden]


def _stacked(pictures: Sequence[Sequence[WordLine]], gap: int) -> list[WordLine]:
    """The lines of several pictures as lines of one, each picture below the one before."""
    lines: list[WordLine] = []
    below = 0
    for picture in pictures:
        top = min(line.box[1] for line in picture)
        lines += [_moved(line, below - top) for line in picture]
        below = max(line.box[3] for line in lines) + gap
    return lines


def _moved(line: WordLine, down: int) -> WordLine:
    x0, y0, x1, y1 = line.box
    first, second, third, fourth = ((x, y + down) for x, y in line.corners)
    corners: Corners = (first, second, third, fourth)
    return replace(line, box=(x0, y0 + down, x1, y1 + down), corners=corners)
