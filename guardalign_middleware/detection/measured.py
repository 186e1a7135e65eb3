"""What an encoder measures of an image, form by form, and how the parts are merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from guardalign_middleware.types import Evidence


@dataclass(frozen=True, eq=False)
class PatchDistances:
    """What one encoder measures of an image, before any threshold.

    Attributes:
        distance: the image's distance, the smallest patch distance; low = unsafe. What it measures
            is in `Verdict`.
        category: the unsafe category nearest to that patch.
        evidence: the numbers of each patch.
    """

    distance: float
    category: str
    evidence: Evidence


def merge_forms(forms: Sequence[PatchDistances], view_seed: str | None) -> PatchDistances:
    """Merge what one encoder measures of the forms and views of one image.

    Args:
        forms: at least one.
        view_seed: the seed of the random views; None when no view is random.
    """
    nearest = min(forms, key=lambda form: form.distance)
    evidence = merge_evidence([form.evidence for form in forms])
    if view_seed is not None:
        evidence = replace(evidence, view_seed=view_seed)
    return PatchDistances(nearest.distance, nearest.category, evidence)


def merge_evidence(parts: Sequence[Evidence]) -> Evidence:
    """The patches of all parts in order, and the largest marginal error and iteration count."""
    if len(parts) == 1:
        return parts[0]
    starts = accumulate((len(part.levels) for part in parts), initial=0)
    return Evidence(
        patch_boxes=np.concatenate([part.patch_boxes for part in parts]),
        patch_distances=np.concatenate([part.patch_distances for part in parts]),
        patch_categories=tuple(name for part in parts for name in part.patch_categories),
        patch_costs=np.concatenate([part.patch_costs for part in parts]),
        patch_levels=np.concatenate(
            [part.patch_levels + start for part, start in zip(parts, starts, strict=False)]
        ),
        levels=tuple(level for part in parts for level in part.levels),
        marginal_error=max(part.marginal_error for part in parts),
        iterations=max(part.iterations for part in parts),
        solver="+".join(dict.fromkeys(part.solver for part in parts)),
        encoder="+".join(dict.fromkeys(part.encoder for part in parts)),
        binding="+".join(dict.fromkeys(part.binding for part in parts)),
        view_seed=parts[0].view_seed,
    )
