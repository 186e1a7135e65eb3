"""Verdicts as JSON, with or without their evidence."""

from __future__ import annotations

import math
from typing import Self

import numpy as np

from guardalign_middleware.types import (
    PASSES,
    Action,
    Box,
    Decision,
    Evidence,
    FormName,
    Level,
    Region,
    RegionKind,
    Verdict,
    WordsRead,
    WouldBe,
)
from guardalign_middleware.wire.arrays import WireArray
from guardalign_middleware.wire.base import WireModel


class WireRegion(WireModel):
    """As `types.Region`."""

    box: Box
    category: str
    distance: float
    cost: float
    action: Action
    kind: RegionKind


class WireWords(WireModel):
    """As `types.WordsRead`; `text` only where the guard quotes what it reads."""

    lines: int
    characters: int
    unread: int
    sha256: str
    reader: str
    text: tuple[str, ...] | None = None


class WireLevel(WireModel):
    """As `types.Level`."""

    form: FormName
    frame: tuple[int, int]
    side: int
    size: tuple[float, float]
    crops: int


class WireEvidence(WireModel):
    """As `types.Evidence`; the category of a patch is an index into `categories`."""

    patch_boxes: WireArray
    patch_distances: WireArray
    categories: tuple[str, ...]
    patch_categories: WireArray
    patch_costs: WireArray
    patch_levels: WireArray
    levels: tuple[WireLevel, ...]
    marginal_error: float | None
    iterations: int
    solver: str
    encoder: str
    view_seed: str | None
    patch_thresholds: WireArray | None
    binding: str = ""
    second_from: int | None = None

    @classmethod
    def of(cls, evidence: Evidence) -> Self:
        """The JSON form of the evidence."""
        names = tuple(dict.fromkeys(evidence.patch_categories))
        places = {name: place for place, name in enumerate(names)}
        indices = np.array([places[name] for name in evidence.patch_categories], dtype=np.int64)
        limits = evidence.patch_thresholds
        return cls(
            patch_boxes=WireArray.of(evidence.patch_boxes, "<i8"),
            patch_distances=WireArray.of(evidence.patch_distances, "<f8"),
            categories=names,
            patch_categories=WireArray.of(indices, "<i8"),
            patch_costs=WireArray.of(evidence.patch_costs, "<f8"),
            patch_levels=WireArray.of(evidence.patch_levels, "<i8"),
            levels=tuple(WireLevel(**vars(level)) for level in evidence.levels),
            marginal_error=or_none(evidence.marginal_error),
            iterations=evidence.iterations,
            solver=evidence.solver,
            encoder=evidence.encoder,
            view_seed=evidence.view_seed,
            patch_thresholds=None if limits is None else WireArray.of(limits, "<f8"),
            binding=evidence.binding,
            second_from=evidence.second_from,
        )

    def read(self) -> Evidence:
        """The evidence.

        Raises:
            ValueError: its arrays do not belong together.
        """
        boxes = self.patch_boxes.read("<i8", (-1, 4))
        rows = (len(boxes),)
        names = self.patch_categories.read("<i8", rows)
        levels = self.patch_levels.read("<i8", rows)
        for indices, count in ((names, len(self.categories)), (levels, len(self.levels))):
            if len(indices) and not (indices.min() >= 0 and indices.max() < count):
                raise ValueError("A patch has a category or a level that does not exist.")
        limits = self.patch_thresholds
        return Evidence(
            patch_boxes=boxes,
            patch_distances=self.patch_distances.read("<f8", rows),
            patch_categories=tuple(self.categories[index] for index in names.tolist()),
            patch_costs=self.patch_costs.read("<f8", rows),
            patch_levels=levels,
            levels=tuple(Level(**dict(level)) for level in self.levels),
            marginal_error=or_nan(self.marginal_error),
            iterations=self.iterations,
            solver=self.solver,
            encoder=self.encoder,
            view_seed=self.view_seed,
            patch_thresholds=None if limits is None else limits.read("<f8", rows),
            binding=self.binding,
            second_from=self.second_from,
        )


class WireVerdict(WireModel):
    """As `types.Verdict`.

    `distance` is null for a picture that was allowed unscanned, and `threshold` where there is none
    yet.
    """

    decision: Decision
    distance: float | None
    threshold: float | None
    category: str
    regions: tuple[WireRegion, ...]
    profile: str
    width: int
    height: int
    source: str
    sha256: str
    fault: str | None = None
    scaled_from: tuple[int, int] | None = None
    words: WireWords | None = None
    would_be: WouldBe | None = None
    evidence: WireEvidence | None = None

    @classmethod
    def of(cls, verdict: Verdict, *, evidence: bool) -> Self:
        """The JSON form of a verdict.

        Args:
            verdict: the verdict.
            evidence: whether with the numbers of every patch.
        """
        words = verdict.words
        return cls(
            decision=verdict.decision,
            distance=or_none(verdict.distance),
            threshold=or_none(verdict.threshold),
            category=verdict.category,
            regions=tuple(WireRegion(**vars(region)) for region in verdict.regions),
            profile=verdict.profile,
            width=verdict.width,
            height=verdict.height,
            source=verdict.source,
            sha256=verdict.sha256,
            fault=verdict.fault,
            scaled_from=verdict.scaled_from,
            words=None if words is None else WireWords(**vars(words)),
            would_be=verdict.would_be,
            evidence=WireEvidence.of(verdict.evidence) if evidence else None,
        )

    def read(self) -> Verdict:
        """The verdict.

        Raises:
            ValueError: it has no evidence, its evidence is broken, or its parts contradict each
                other: only an unscanned picture lacks a distance, and only an observed one lacks a
                threshold.
        """
        if self.evidence is None:
            raise ValueError("The verdict has no evidence.")
        if self.distance is None and self.fault is None:
            raise ValueError("The verdict on a scanned picture has no distance.")
        if self.fault is not None and self.decision not in PASSES:
            raise ValueError("A picture that was not scanned cannot be found unsafe.")
        words = self.words
        return Verdict(
            decision=self.decision,
            distance=or_nan(self.distance),
            threshold=or_nan(self.threshold),
            category=self.category,
            regions=tuple(Region(**dict(region)) for region in self.regions),
            profile=self.profile,
            width=self.width,
            height=self.height,
            source=self.source,
            sha256=self.sha256,
            evidence=self.evidence.read(),
            fault=self.fault,
            scaled_from=self.scaled_from,
            words=None if words is None else WordsRead(**dict(words)),
            would_be=self.would_be,
        )


def or_none(number: float) -> float | None:
    """The number; None for NaN, which JSON does not have."""
    return None if math.isnan(number) else number


def or_nan(number: float | None) -> float:
    """The number that `or_none` was given."""
    return math.nan if number is None else number
