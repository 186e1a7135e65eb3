"""The decision on an image, from distances and thresholds, before any region is drawn."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.detection.anchors import AnchorBank
from guardalign_middleware.detection.measured import PatchDistances, merge_evidence
from guardalign_middleware.detection.profile import ThresholdProfile
from guardalign_middleware.detection.regions import find_regions
from guardalign_middleware.types import Action, CanonicalImage, Decision, Evidence, Region, Verdict

_ACTIONS: tuple[Action, ...] = get_args(Action)
_LOGGER = logging.getLogger(__name__)


def verdict_from(
    image: CanonicalImage,
    measured: Sequence[PatchDistances],
    profile: ThresholdProfile,
    banks: Sequence[AnchorBank],
) -> Verdict:
    """Decide on an image, and draw regions afterwards.

    A patch is unsafe when its distance is at most the threshold of its category and form (paper
    eq. 10).
    The most severe action among the categories of the unsafe patches is the decision. Distance,
    category and threshold of the verdict are those of the patch farthest below its threshold.

    Regions are evidence and decide nothing. When they cannot be drawn, the fault is logged, the
    verdict has none, and the decision stands; `sanitize` blocks an unsafe image without regions. An
    exception instead would turn "unsafe" into "unknown", which `on_fault="allow"` lets through.

    Args:
        image: the scanned image.
        measured: by each encoder.
        profile: with a threshold for each encoder.
        banks: the anchors of each encoder.
    """
    evidence = _evidence(measured)
    thresholds: list[float] = []
    chosen: list[Action] = []
    for one, own, bank in zip(measured, profile.members, banks, strict=True):
        categories = one.evidence.patch_categories
        thresholds += map(own.threshold_of, categories, one.evidence.patch_forms)
        chosen += [bank.action(name) for name in categories]
    limits, actions = np.array(thresholds), np.array(chosen)
    unsafe = ~(evidence.patch_distances > limits)  # rather than <=: NaN is never allowed
    worst = int((evidence.patch_distances - limits).argmin())
    return Verdict(
        decision=_decision(actions[unsafe]),
        distance=float(evidence.patch_distances[worst]),
        threshold=float(limits[worst]),
        category=evidence.patch_categories[worst],
        regions=_regions(evidence, limits, actions) if unsafe.any() else (),
        profile=profile.fingerprint,
        width=image.width,
        height=image.height,
        source=image.source,
        sha256=image.sha256,
        evidence=replace(evidence, patch_thresholds=limits),
    )


def measured_only(image: CanonicalImage, measured: Sequence[PatchDistances]) -> Verdict:
    """What was measured of an image where there is no threshold yet, so that nothing is decided.

    Its decision is `observe`, its threshold NaN, and it has no regions: no distance is known to be
    unsafe.

    Args:
        image: the scanned image.
        measured: by each encoder.
    """
    nearest = min(measured, key=lambda one: one.distance)
    return Verdict(
        decision="observe",
        would_be="undecided",
        distance=nearest.distance,
        threshold=math.nan,
        category=nearest.category,
        regions=(),
        profile="",
        width=image.width,
        height=image.height,
        source=image.source,
        sha256=image.sha256,
        evidence=_evidence(measured),
    )


def _evidence(measured: Sequence[PatchDistances]) -> Evidence:
    """What all encoders measured, and where that of the second one begins."""
    evidence = merge_evidence([one.evidence for one in measured])
    if len(measured) == 1:
        return evidence
    return replace(evidence, second_from=len(measured[0].evidence.patch_distances))


def _decision(actions: NDArray[np.str_]) -> Decision:
    """The decision on an image whose unsafe patches lead to these actions."""
    return "block" if "block" in actions else "mask" if "mask" in actions else "allow"


def _regions(
    evidence: Evidence, limits: NDArray[np.float64], actions: NDArray[np.str_]
) -> tuple[Region, ...]:
    """Regions action by action: what is only reported never hides what is to be masked."""
    try:
        found = [
            replace(region, action=action)
            for action in _ACTIONS
            for region in find_regions(
                evidence.patch_boxes,
                evidence.patch_distances,
                evidence.patch_categories,
                limits,
                evidence.patch_levels,
                evidence.patch_costs,
                seeds=actions == action,
            )
        ]
        return tuple(sorted(found, key=lambda region: (region.distance, region.box)))
    except Exception:
        # The traceback holds boxes and distances, never pixels.
        _LOGGER.exception("The regions of an image cannot be drawn. Its decision stands.")
        return ()
