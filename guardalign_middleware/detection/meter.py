"""What a detector measures of an image, before any threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from guardalign_middleware.types import Evidence


@dataclass(frozen=True, eq=False)
class PatchDistances:
    """What a detector measures of an image, before any threshold.

    Attributes:
        distance: the image's distance, the smallest patch distance; low = unsafe.
        category: the unsafe category nearest to the nearest patch.
        evidence: the numbers of each patch.
    """

    distance: float
    category: str
    evidence: Evidence

    def by_category(self) -> dict[str, float]:
        """Smallest distance of the patches nearest to each category; without those of none."""
        nearest: dict[str, float] = {}
        for name, value in zip(
            self.evidence.patch_categories, self.evidence.patch_distances.tolist(), strict=True
        ):
            nearest[name] = min(value, nearest.get(name, value))
        return nearest


def of_all_views(views: Sequence[PatchDistances], draw: str | None) -> PatchDistances:
    """What all views of one image show together.

    Args:
        views: at least one, of one encoder.
        draw: of the random ones among them.
    """
    nearest = min(views, key=lambda view: view.distance)
    evidence = joined([view.evidence for view in views])
    if draw is not None:
        evidence = replace(evidence, draw=draw)
    return PatchDistances(nearest.distance, nearest.category, evidence)


def joined(parts: Sequence[Evidence]) -> Evidence:
    """The patches of all parts, in their order, and the worst of their marginal errors."""
    if len(parts) == 1:
        return parts[0]
    return Evidence(
        patch_boxes=np.concatenate([part.patch_boxes for part in parts]),
        patch_distances=np.concatenate([part.patch_distances for part in parts]),
        patch_categories=tuple(name for part in parts for name in part.patch_categories),
        marginal_error=max(part.marginal_error for part in parts),
        iterations=max(part.iterations for part in parts),
        solver="+".join(dict.fromkeys(part.solver for part in parts)),
        encoder="+".join(dict.fromkeys(part.encoder for part in parts)),
        draw=parts[0].draw,
    )
