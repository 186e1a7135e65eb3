"""Handmade verdicts, for tests of the stages after detection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.types import (
    Box,
    CanonicalImage,
    Decision,
    Evidence,
    Level,
    Region,
    Verdict,
)


def plain_image(width: int = 40, height: int = 30, seed: int = 0) -> CanonicalImage:
    """Random pixels, all different from their neighbours."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return CanonicalImage(pixels, "test.png")


def grid_evidence(width: int, height: int, distances: Sequence[float] | float = 0.8) -> Evidence:
    """Four by four patches, with one distance for all or one for each."""
    xs, ys = np.linspace(0, width, 5).astype(int), np.linspace(0, height, 5).astype(int)
    boxes = [
        (xs[i], ys[j], max(xs[i + 1], xs[i] + 1), max(ys[j + 1], ys[j] + 1))
        for j in range(4)
        for i in range(4)
    ]
    values = np.broadcast_to(np.asarray(distances, dtype=np.float64), (16,)).copy()
    return make_evidence(np.array(boxes), values, ("weapon",) * 16)


def make_evidence(
    boxes: NDArray[np.int64], distances: NDArray[np.float64], categories: tuple[str, ...]
) -> Evidence:
    """Evidence of patches that are all of one level."""
    count = len(distances)
    levels = (Level("native", (640, 480), 56, (56.0, 56.0), count),)
    costs, where = np.full(count, 0.7), np.zeros(count, dtype=np.int64)
    return Evidence(boxes, distances, categories, costs, where, levels, 0.0, 1, "kernel", "fake")


def make_verdict(
    image: CanonicalImage,
    boxes: Sequence[Box] = (),
    *,
    decision: Decision | None = None,
    distance: float | None = None,
    category: str = "weapon",
    evidence: Evidence | None = None,
) -> Verdict:
    """A verdict that flags the boxes; without boxes and a decision, it is allow."""
    regions = tuple(Region(box, category, 0.3 + 0.01 * i, 0.7) for i, box in enumerate(boxes))
    return Verdict(
        decision=decision or ("mask" if boxes else "allow"),
        distance=distance if distance is not None else (0.3 if boxes else 0.7),
        threshold=0.4,
        category=category,
        regions=regions,
        profile="profile",
        width=image.width,
        height=image.height,
        source=image.source,
        sha256=image.sha256,
        evidence=evidence or grid_evidence(image.width, image.height),
    )
