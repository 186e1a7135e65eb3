"""What asks whether words are unsafe, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from guardalign_middleware.types import Action
from guardalign_middleware.words.line import WordLine

STAGE = "words"
"""Stage of the faults of what reads and judges words."""


@dataclass(frozen=True)
class Judgement:
    """What a guard of texts says about some lines of a picture.

    Attributes:
        lines: indices of the lines that it is about; never empty.
        category: what they are near to.
        distance: how near; low = unsafe, and never NaN.
        threshold: at most this is unsafe.
        action: what unsafe lines cause.
    """

    lines: tuple[int, ...]
    category: str
    distance: float
    threshold: float
    action: Action = "mask"

    def __post_init__(self) -> None:
        if not self.lines or min(self.lines) < 0:
            raise ValueError(f"lines should be indices of lines. Received {self.lines}.")
        # NaN would compare as safe.
        if self.distance != self.distance or self.threshold != self.threshold:
            raise ValueError("distance and threshold should be numbers. Received NaN.")

    @property
    def unsafe(self) -> bool:
        """Whether the lines are unsafe."""
        return self.distance <= self.threshold

    @property
    def hides(self) -> bool:
        """Whether the lines are unsafe and do not stay, as what is only flagged does."""
        return self.unsafe and self.action != "flag"


class LineJudge(Protocol):
    """Judges the lines of a picture; threads may share it."""

    @property
    def fingerprint(self) -> str:
        """Differs for judges that may answer differently."""
        ...

    def judge(self, lines: Sequence[WordLine], text: str = "") -> tuple[Judgement, ...]:
        """Judge the lines of one picture.

        Args:
            lines: in reading order.
            text: what the user says with the picture; empty if unknown.

        Returns:
            Judgements on any groups of lines, safe ones too; empty where nothing was asked about.

        Raises:
            GuardError: a guard of texts failed.
        """
        ...
