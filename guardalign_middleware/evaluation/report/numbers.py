"""The numbers behind the plots of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from guardalign_middleware.evaluation.experiment.figures import wanted_of
from guardalign_middleware.evaluation.experiment.reading import Experiment
from guardalign_middleware.evaluation.judges import counts
from guardalign_middleware.evaluation.metrics import Estimate, rate

LEAST = 1e-6
"""Ratios below this are drawn as this: their axis is logarithmic."""


@dataclass(frozen=True)
class Distances:
    """Distance over threshold of every item with a picture that was scanned.

    An item's ratio is the smallest one of the patches of its pictures: at a multiple of all
    thresholds below it, none of them is unsafe.

    Attributes:
        harmful: of items that should be refused.
        harmless: of items that should be answered.
        by_item: of both.
        changed: items with a picture that was masked or blocked.
        by_words: those of them with words to be covered, which no threshold of distances lets pass.
        observed: items with a picture that a guard only observed.
        unknown: how many scanned items have no such ratio, as an earlier version stored none.
    """

    harmful: tuple[float, ...]
    harmless: tuple[float, ...]
    by_item: Mapping[str, float]
    changed: frozenset[str] = frozenset()
    by_words: frozenset[str] = frozenset()
    observed: frozenset[str] = frozenset()
    unknown: int = 0

    def changed_at(self, key: str, level: float) -> bool:
        """Whether an item's pictures would be masked or blocked at a multiple of 1 and below.

        At 1 that is what was decided. What was let pass then, passes at each lower one.
        """
        below = level >= 1 or key in self.by_words or self.by_item[key] <= level
        return key in self.changed and below


def distances_of(made: Experiment) -> Distances:
    """What the stored scans say of the items."""
    kind = made.chosen.manifest.kind
    groups: dict[str, list[float]] = {"refuse": [], "answer": []}
    by_item: dict[str, float] = {}
    marked: dict[str, set[str]] = {"changed": set(), "by_words": set(), "observed": set()}
    unknown = 0
    scans = made.folder.scans()
    for item in made.chosen.items:
        images = scans.get(item.id, {}).get("images", ())
        # Not from `distance` and `threshold`: they are of the patch with the smallest difference.
        lacking = any("ratio" not in image for image in images)
        unknown += lacking
        ratios = [] if lacking else [image["ratio"] for image in images]
        shown = [max(LEAST, ratio) for ratio in ratios if ratio is not None]
        if shown:
            by_item[item.id] = min(shown)
            groups[wanted_of(item, kind)].append(min(shown))
        for image in images:
            if image["decision"] in ("mask", "block"):
                marked["changed"].add(item.id)
                if any(_of_words(region) for region in image["regions"]):
                    marked["by_words"].add(item.id)
            if image["decision"] == "observe":
                marked["observed"].add(item.id)
    return Distances(
        tuple(groups["refuse"]),
        tuple(groups["answer"]),
        by_item,
        **{name: frozenset(some) for name, some in marked.items()},
        unknown=unknown,
    )


def _of_words(region: Mapping[str, Any]) -> bool:
    """Whether a stored region is of words, and more than reported."""
    return "kind" in region and region.get("action") != "flag"


def roc(found: Distances) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """False alarms and detected shares at every threshold, from 0 to 1."""
    levels = np.unique([*found.harmful, *found.harmless])
    harmful, harmless = np.sort(found.harmful), np.sort(found.harmless)
    alarms = np.searchsorted(harmless, levels, side="right") / len(harmless)
    hits = np.searchsorted(harmful, levels, side="right") / len(harmful)
    return (0.0, *alarms.tolist()), (0.0, *hits.tolist())


def flagged(ratios: Sequence[float], levels: Sequence[float]) -> tuple[float, ...]:
    """Share of pictures that are unsafe at each multiple of the threshold."""
    ordered = np.sort(ratios)
    return tuple((np.searchsorted(ordered, levels, side="right") / len(ordered)).tolist())


def unsafe_at(
    made: Experiment, judge: str, found: Distances, levels: Sequence[float]
) -> tuple[Estimate, ...]:
    """USR of the whole method on harmful pictures, were the threshold a multiple of what it is.

    Composed from stored answers: at a lower threshold, a picture that is no longer unsafe counts
    with the answer of the arm `calibration`, which saw it unmasked. At multiples of 1 and below it
    is what would have been answered, except that a picture's mask may cover less.

    Returns:
        One for each level; none where no item was scanned and has judgements of both arms.
    """
    masked, plain = made.judged[judge]["full"], made.judged[judge]["calibration"]
    kind = made.chosen.manifest.kind
    keys = [
        item.id
        for item in made.chosen.items
        if wanted_of(item, kind) == "refuse"
        and item.id in found.by_item
        and item.id not in found.observed
        and item.id in masked
        and item.id in plain
    ]
    shares: list[Estimate] = []
    for level in levels if keys else ():
        labels = [(masked if found.changed_at(key, level) else plain)[key].label for key in keys]
        shares.append(rate(sum(counts(label, "unsafe") for label in labels), len(labels)))
    return tuple(shares)
