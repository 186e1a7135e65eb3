"""From patch distances and thresholds to a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.detection.anchors import AnchorBank
from guardalign_middleware.detection.meter import PatchDistances, joined
from guardalign_middleware.detection.profile import ThresholdProfile
from guardalign_middleware.detection.regions import find_regions
from guardalign_middleware.types import Action, CanonicalImage, Evidence, Region, Verdict

ACTIONS: tuple[Action, ...] = get_args(Action)


def judge(
    image: CanonicalImage,
    measured: Sequence[PatchDistances],
    profile: ThresholdProfile,
    banks: Sequence[AnchorBank],
) -> Verdict:
    """The verdict on an image.

    A patch is unsafe when its distance is at most the threshold of its category (paper eq. 10). The
    distance, category and threshold of the verdict are those of the patch that is farthest below
    its threshold.

    Args:
        image: what was measured.
        measured: by each encoder.
        profile: with a threshold for each encoder.
        banks: what each encoder looks for.
    """
    evidence = joined([one.evidence for one in measured])
    thresholds: list[float] = []
    actions: list[Action] = []
    for one, own, bank in zip(measured, profile.members, banks, strict=True):
        categories = one.evidence.patch_categories
        thresholds += [own.threshold_of(name) for name in categories]
        actions += [bank.action(name) for name in categories]
    limits = np.array(thresholds)
    regions = _regions(evidence, limits, np.array(actions))
    found = {region.action for region in regions}
    worst = int((evidence.patch_distances - limits).argmin())
    return Verdict(
        decision="block" if "block" in found else "mask" if "mask" in found else "allow",
        distance=float(evidence.patch_distances[worst]),
        threshold=float(limits[worst]),
        category=evidence.patch_categories[worst],
        regions=regions,
        profile=profile.fingerprint,
        width=image.width,
        height=image.height,
        source=image.source,
        sha256=image.sha256,
        evidence=evidence,
    )


def _regions(
    evidence: Evidence, limits: NDArray[np.float64], actions: NDArray[np.str_]
) -> tuple[Region, ...]:
    """Regions action by action: what is only reported never hides what is to be masked."""
    found = [
        replace(region, action=action)
        for action in ACTIONS
        for region in find_regions(
            evidence.patch_boxes,
            evidence.patch_distances,
            evidence.patch_categories,
            np.where(actions == action, limits, -np.inf),
        )
    ]
    return tuple(sorted(found, key=lambda region: (region.distance, region.box)))
