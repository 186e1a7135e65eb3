"""How pictures were cleaned, as JSON."""

from __future__ import annotations

from typing import Literal, Self

from guardalign_middleware.sanitize import Cleaning, SanitizedImage
from guardalign_middleware.types import Box
from guardalign_middleware.wire.base import WireModel
from guardalign_middleware.wire.verdicts import WireVerdict, or_nan, or_none


class WireCleaning(WireModel):
    """As `sanitize.SanitizedImage`.

    `passed` is the verdict by which the cleaned picture may be shown: "verdict" where nothing was
    hidden, so that it is the same one; null for a blocked picture, and for one that was allowed
    unscanned. `image` and `overlay` are data URLs, where they were asked for; a blocked picture has
    no `image`.
    """

    verdict: WireVerdict
    rounds: int
    masked_fraction: float
    residual_distance: float | None
    boxes: tuple[Box, ...]
    passed: WireVerdict | Literal["verdict"] | None
    image: str | None = None
    overlay: str | None = None

    @classmethod
    def of(
        cls,
        item: SanitizedImage,
        *,
        evidence: bool,
        image: str | None = None,
        overlay: str | None = None,
    ) -> Self:
        """The JSON form of a result.

        Args:
            item: the result.
            evidence: whether with the numbers of every patch.
            image: the cleaned picture as a data URL.
            overlay: the drawn evidence as a data URL.
        """
        passed: WireVerdict | Literal["verdict"] | None = None
        if item.passed is item.verdict:
            passed = "verdict"
        elif item.passed is not None:
            passed = WireVerdict.of(item.passed, evidence=evidence)
        return cls(
            verdict=WireVerdict.of(item.verdict, evidence=evidence),
            rounds=item.rounds,
            masked_fraction=item.masked_fraction,
            residual_distance=or_none(item.residual_distance),
            boxes=item.boxes,
            passed=passed,
            image=image,
            overlay=overlay,
        )

    def read(self) -> Cleaning:
        """How the picture was cleaned.

        Raises:
            ValueError: its parts contradict each other.
        """
        verdict = self.verdict.read()
        passed = (
            self.passed.read()
            if isinstance(self.passed, WireVerdict)
            else verdict
            if self.passed == "verdict"
            else None
        )
        may_leave = verdict.decision != "block" and verdict.fault is None
        if may_leave != (passed is not None):
            raise ValueError("A picture passes if it is neither blocked nor unscanned.")
        if passed is not None and passed.flagged:
            raise ValueError("A picture passes by a verdict that allows it.")
        return Cleaning(
            verdict,
            self.rounds,
            self.masked_fraction,
            or_nan(self.residual_distance),
            self.boxes,
            passed,
        )
