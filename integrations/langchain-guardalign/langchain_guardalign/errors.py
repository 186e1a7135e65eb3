"""The error of this package: `ImageBlocked`. All others are the core's."""

from __future__ import annotations

from collections.abc import Sequence

from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.types import Verdict


class ImageBlocked(GuardAlignError):
    """An unsafe image was found, and no message is forwarded.

    This is the guard's answer rather than a fault, so it is not a `GuardError`.

    Attributes:
        verdicts: on the unsafe images, in reading order.
    """

    def __init__(self, verdicts: Sequence[Verdict], *, remedy: str) -> None:
        self.verdicts = tuple(verdicts)
        found = ", ".join(sorted({verdict.category for verdict in self.verdicts}))
        count = len(self.verdicts)
        super().__init__(
            f"{count} unsafe image{'s' if count > 1 else ''} found ({found}).", remedy=remedy
        )
