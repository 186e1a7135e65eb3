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
    below each other and then in one flow. Judgements that only the whole turn gives are added to
    each picture that holds lines of it. They are asked for only where no picture
    by itself is to be hidden.

    Args:
        judge: judges lines.
        pictures: the lines of each picture of the turn, in reading order.
        text: what the user says with the pictures.

    Returns:
        The judgements of each picture; `lines` are indices of its own lines.

    Raises:
        GuardError: a guard of texts failed.
    """
    found = [judge.judge(lines, text) for lines in pictures]
    worded = [number for number, lines in enumerate(pictures) if lines]
    if len(worded) < 2 or any(one.hides for judged in found for one in judged):
        return tuple(found)
    places = [(number, index) for number in worded for index in range(len(pictures[number]))]
    for gap in (_GAP, 0):
        stacked = _stacked([pictures[number] for number in worded], gap)
        for one in judge.judge(stacked, text):
            held: dict[int, list[int]] = {}
            for line in one.lines:
                number, index = places[line]
                held.setdefault(number, []).append(index)
            if len(held) > 1 and one.unsafe:
                for number, indices in held.items():
                    found[number] = (*found[number], replace(one, lines=tuple(sorted(indices))))
        if any(one.hides for judged in found for one in judged):
            break
    return tuple(found)


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
