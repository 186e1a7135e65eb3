"""Instructions in a picture that address the model which reads it, as rules on plain words.

Each rule of `instruction_rules` is a cue with a weight; a passage's distance is the product of
1 − weight over its cues. One strong cue, or several weak ones together, are an instruction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from guardalign_middleware.words.columns import Layout
from guardalign_middleware.words.instruction_rules import compiled_rules
from guardalign_middleware.words.line import WordLine
from guardalign_middleware.words.passages import Passage, upright

INJECTION = "injection"
INJECTION_THRESHOLD = 0.5
"""Distances at or below it belong to instructions addressed to a model."""

# Text this much lower than the picture's usual line is easily passed over by people.
_TINY = 0.72
_TINY_WEIGHT = 0.25
# Letters that differ less from their ground, in levels, are hardly seen by people.
_FAINT = 24.0
_FAINT_WEIGHT = 0.25
_WINDOW = 8  # lines


@dataclass(frozen=True)
class Instruction:
    """A passage that addresses a model.

    Attributes:
        lines: indices of its lines.
        distance: product of 1 − weight over the cues, 0 to 1; low = surely an instruction.
        cues: names of the rules that fit.
    """

    lines: tuple[int, ...]
    distance: float
    cues: tuple[str, ...]


def find_instructions(lines: Sequence[WordLine]) -> tuple[Instruction, ...]:
    """How near each passage with a cue is to an instruction.

    Long passages are read in windows, so that weak cues far apart do not add up. Passages are also
    read one after another, because an instruction can be set apart over them: a cue that lies in
    several joins these. Columns are read row by row and each by itself.

    Args:
        lines: of a picture, in reading order.
    """
    usual = median(_height(line) for line in lines) if lines else 0.0
    layout = Layout.of(lines)
    found = []
    for passage in layout.parts:
        for indices in _windows(passage.lines):
            cues = cues_in(Passage.of(lines, indices).plain)
            if cues:
                tiny = max(_height(lines[index]) for index in indices) < _TINY * usual
                faint = max(lines[index].contrast for index in indices) < _FAINT
                found.append(_instruction(indices, cues, tiny=tiny, faint=faint))
    if all(one.distance > INJECTION_THRESHOLD for one in found):
        ways = (layout.rows, layout.columns)
        for order, together in zip(layout.orders, ways, strict=False):
            found += _set_apart(lines, order, together)
    return tuple(found)


def _windows(indices: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    for first in range(0, max(1, len(indices) - _WINDOW // 2), _WINDOW // 2):
        yield indices[first : first + _WINDOW]


def _set_apart(
    lines: Sequence[WordLine], order: Sequence[int], together: Sequence[Passage]
) -> Iterator[Instruction]:
    """What cues say that lie in several passages, with the other cues of these passages.

    Args:
        lines: of a picture.
        order: in which all of them are read.
        together: the passages.
    """
    if len(together) < 2:
        return
    whole = Passage.of(lines, order)
    for start, end, *_ in cues_in(whole.plain):
        touched = set(whole.lines_at(start, end))
        held = [one for one in together if touched & set(one.lines)]
        if len(held) > 1:
            indices = {line for one in held for line in one.lines}
            text = Passage.of(lines, [line for line in order if line in indices])
            yield _instruction(tuple(sorted(indices)), cues_in(text.plain))


Cue = tuple[int, int, str, float]
"""Start and end in the plain text, name and weight of a rule that fits there."""


def cues_in(text: str) -> tuple[Cue, ...]:
    """The first place where each rule fits a plain text."""
    found = []
    for name, weight, pattern in compiled_rules():
        if match := pattern.search(text):
            found.append((match.start(), match.end(), name, weight))
    return tuple(found)


def _instruction(
    lines: tuple[int, ...], cues: Sequence[Cue], *, tiny: bool = False, faint: bool = False
) -> Instruction:
    """An instruction from its cues; how it looks only adds to what it says."""
    named = [(name, weight) for *_, name, weight in cues]
    named += [("tiny", _TINY_WEIGHT)] * tiny + [("faint", _FAINT_WEIGHT)] * faint
    distance = math.prod(1.0 - weight for _, weight in named)
    return Instruction(lines, distance, tuple(name for name, _ in named))


def _height(line: WordLine) -> float:
    _, top, _, bottom = upright(line)
    return bottom - top
