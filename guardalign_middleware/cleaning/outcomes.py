"""What became of the images of a value that was cleaned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.types import Verdict

Refusal = ImageRejected | MessageError


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one image, or of something that could hold one.

    Attributes:
        record: as the metadata report it.
        place: its position in the value.
        turn: the index of its message; None outside of messages.
        verdict: None if it could not be scanned.
        refused: why it was taken out unseen.
        declared: whether it was declared an image or a file; else its bytes look like an image.
        blocked: whether nothing may be shown of what a model would have seen; never so in words.
    """

    record: Mapping[str, Any]
    place: str
    turn: int | None
    verdict: Verdict | None = None
    refused: Refusal | None = None
    declared: bool = True
    blocked: bool = False


@dataclass(frozen=True, eq=False)
class Cleaned:
    """A value after the guard.

    Attributes:
        value: the copy that may be forwarded; the same object if nothing had to change.
        outcomes: one for each image, in reading order.
        blocked: the verdicts on the images for which a reply takes the model's place, if any;
            `ImageGuardRunnable` sets it.
    """

    value: Any
    outcomes: tuple[Outcome, ...] = ()
    blocked: tuple[Verdict, ...] = ()

    @property
    def records(self) -> tuple[Mapping[str, Any], ...]:
        """One for each image, in reading order, as the metadata report it."""
        return tuple(outcome.record for outcome in self.outcomes)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One for each image that was scanned, in reading order."""
        return tuple(each.verdict for each in self.outcomes if each.verdict is not None)

    @property
    def flagged(self) -> tuple[Verdict, ...]:
        """The verdicts on the unsafe images."""
        return tuple(verdict for verdict in self.verdicts if verdict.flagged)

    def refusal(self, concerns: Callable[[Outcome], bool]) -> Refusal | None:
        """Why the first of these was refused; None if none was."""
        refused = (each.refused for each in self.outcomes if concerns(each))
        return next((error for error in refused if error is not None), None)

    def blocked_among(self, concerns: Callable[[Outcome], bool]) -> tuple[Verdict, ...]:
        """The verdicts on the blocked images among these."""
        return tuple(
            each.verdict
            for each in self.outcomes
            if each.blocked and each.verdict is not None and concerns(each)
        )
