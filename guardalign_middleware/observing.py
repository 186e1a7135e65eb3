"""The mode `observe`: what was decided about an image becomes what would have been done about it.

This is the one place where a decision loses its effect. Results pass it after everything else,
whether they were scanned, cleaned or remembered, and before they are recorded and returned.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.types import Verdict

if TYPE_CHECKING:
    from guardalign_middleware.audit import AuditLog

_LOGGER = logging.getLogger(__name__)
Result = TypeVar("Result", Verdict, SanitizedImage)


@dataclass(frozen=True)
class Conclusion:
    """What a guard does about the images that were scanned.

    Attributes:
        config: of the guard; a guard that only observes says so in the log of the program.
        audit: where every result is recorded; None = nowhere.
    """

    config: GuardAlignConfig
    audit: AuditLog | None

    def __post_init__(self) -> None:
        if self.config.mode == "observe":
            _LOGGER.warning(
                "The guard %s only observes: every image that can be scanned passes.",
                self.config.name,
            )

    def __call__(self, results: list[Result]) -> list[Result]:
        """What callers get; it was recorded.

        Raises:
            AuditError: a result cannot be recorded.
        """
        if self.config.mode == "observe":
            results = [observed(result) for result in results]
        if self.audit is not None:
            for result in results:
                self.audit.append(result)
        return results


def observed(result: Result) -> Result:
    """The result by which the image passes as it is; its verdict says what would have been done."""
    if isinstance(result, Verdict):
        return _verdict(result)
    verdict = _verdict(result.verdict)
    return replace(
        result,
        image=result.original,
        verdict=verdict,
        rounds=0,
        masked_fraction=0.0,
        residual_distance=verdict.distance,
        boxes=(),
        passed=verdict if verdict.fault is None else None,
    )


def _verdict(verdict: Verdict) -> Verdict:
    # Without thresholds, or remembered, it is an observation already.
    if verdict.decision == "observe":
        return verdict
    return replace(verdict, decision="observe", would_be=verdict.decision)
