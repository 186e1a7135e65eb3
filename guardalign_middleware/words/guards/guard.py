"""The interface of a guard of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from guardalign_middleware.errors import GuardError
from guardalign_middleware.words.judge import STAGE


@dataclass(frozen=True)
class Assessment:
    """How near a text is to something unsafe.

    Attributes:
        category: what it is nearest to.
        distance: how near, on the guard's own scale; low = unsafe.
        unknown: why the guard cannot say, as in "no word is known"; the distance is infinite then,
            which is above every threshold. Empty if it can.
    """

    category: str
    distance: float
    unknown: str = ""

    def __post_init__(self) -> None:
        if self.distance != self.distance:  # would compare as safe
            raise ValueError("distance should be a number. Received NaN.")
        if self.unknown and self.distance != float("inf"):
            raise ValueError("The distance of what is unknown should be infinite.")

    @classmethod
    def of_unknown(cls, reason: str) -> Assessment:
        """The assessment of a text about which the guard cannot say anything."""
        return cls("unknown", float("inf"), reason)


class TextGuard(Protocol):
    """Says how near texts are to something unsafe; threads may share it."""

    @property
    def fingerprint(self) -> str:
        """Differs for guards that may answer differently; a threshold is bound to it."""
        ...

    def assess(self, texts: Sequence[str]) -> tuple[Assessment, ...]:
        """Assess the texts of one picture together.

        Args:
            texts: at least one; passages, and the picture as a whole.

        Returns:
            One assessment for each text, in order.

        Raises:
            GuardError: the guard failed; nothing about the texts is known then.
        """
        ...


def assessed(guard: TextGuard, texts: Sequence[str]) -> tuple[Assessment, ...]:
    """What a guard says about texts, with as many answers as there are texts.

    Raises:
        GuardError: the guard failed, or gave another number of answers.
    """
    found = tuple(guard.assess(texts)) if texts else ()
    if len(found) != len(texts):
        raise GuardError(
            f"A guard of texts gave {len(found)} answers to {len(texts)} texts.",
            stage=STAGE,
            remedy="A guard should give one answer for each text, in order.",
        )
    return found
