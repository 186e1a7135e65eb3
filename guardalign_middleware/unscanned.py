"""The verdict on an image that could not be scanned, and how bad a verdict is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.errors import GuardError, Overloaded
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.types import (
    WOULD_BE,
    CanonicalImage,
    Decision,
    Evidence,
    Verdict,
    WouldBe,
)

if TYPE_CHECKING:
    from guardalign_middleware.detection import Detector


_ORDER: tuple[Decision | WouldBe, ...] = WOULD_BE


def severity(verdict: Verdict) -> tuple[int, bool, float]:
    """Sort key, worst last; of two allowed images, the unscanned one is worse.

    Where the guard observes, what would have been decided counts.
    """
    not_scanned = verdict.fault is not None
    limit = verdict.threshold if verdict.decided else 0.0
    below = 0.0 if not_scanned else limit - verdict.distance
    decision = verdict.decision if verdict.would_be is None else verdict.would_be
    return _ORDER.index(decision), not_scanned, below


def fails_open(config: GuardAlignConfig, error: GuardError) -> bool:
    """Whether a picture passes after a fault; never by a full queue, which clients fill at will."""
    return config.on_fault == "allow" and not isinstance(error, Overloaded)


def worst(files: Sequence[Sequence[CanonicalImage]], verdicts: Iterable[Verdict]) -> list[Verdict]:
    """The worst verdict on each file.

    Args:
        files: the frames of each.
        verdicts: on all frames.
    """
    rest = iter(verdicts)
    return [max(islice(rest, len(file)), key=severity) for file in files]


def unscanned(image: CanonicalImage, detector: Detector, error: GuardError) -> Verdict:
    """The verdict that allows an image without a scan, for the setting `on_fault="allow"`.

    Args:
        image: the image.
        detector: that should have scanned it. Without a threshold profile the verdict is
            `undecided`, for a guard that observes.
        error: why it was not scanned.
    """
    profile = detector.profile
    nothing = Evidence(
        patch_boxes=np.empty((0, 4), dtype=np.int64),
        patch_distances=np.empty(0),
        patch_categories=(),
        patch_costs=np.empty(0),
        patch_levels=np.empty(0, dtype=np.int64),
        levels=(),
        marginal_error=float("nan"),
        iterations=0,
        solver="",
        encoder=detector.encoder,
    )
    return Verdict(
        decision="observe" if profile is None else "allow",
        would_be="undecided" if profile is None else None,
        distance=float("nan"),
        threshold=float("nan") if profile is None else profile.threshold,
        category="",
        regions=(),
        profile="" if profile is None else profile.fingerprint,
        width=image.width,
        height=image.height,
        source=image.source,
        sha256=image.sha256,
        evidence=nothing,
        fault=f"{error.stage}: {error.message}",
        scaled_from=image.scaled_from,
    )


def passed_by_itself(item: SanitizedImage) -> bool:
    """Whether it was scanned and allowed as it is."""
    return item.verdict.decision == "allow" and item.verdict.fault is None


def unjudged(item: SanitizedImage, detector: Detector, error: GuardError) -> SanitizedImage:
    """The result of an image whose message could not be judged: an allowed one is unscanned."""
    if not passed_by_itself(item):
        return item
    verdict = unscanned(item.original, detector, error)
    return replace(item, verdict=verdict, residual_distance=verdict.distance, passed=None)
