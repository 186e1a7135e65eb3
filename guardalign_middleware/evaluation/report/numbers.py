"""The numbers behind the plots of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guardalign_middleware.evaluation.experiment.figures import wanted_of
from guardalign_middleware.evaluation.experiment.reading import Experiment
from guardalign_middleware.evaluation.judges import counts
from guardalign_middleware.evaluation.metrics import Estimate, rate

LEAST = 1e-6
"""Ratios below this are drawn as this: their axis is logarithmic."""


@dataclass(frozen=True)
class Distances:
    """Distance over threshold of every item with a picture that was scanned; unsafe at 1 and below.

    Attributes:
        harmful: of items that should be refused.
        harmless: of items that should be answered.
        by_item: of both.
    """

    harmful: tuple[float, ...]
    harmless: tuple[float, ...]
    by_item: dict[str, float]


def distances_of(made: Experiment) -> Distances:
    """The smallest ratio of an item's pictures."""
    kind = made.chosen.manifest.kind
    groups: dict[str, list[float]] = {"refuse": [], "answer": []}
    by_item = {}
    scans = made.folder.scans()
    for item in made.chosen.items:
        shown = [
            max(LEAST, image["distance"] / image["threshold"])
            for image in scans.get(item.id, {}).get("images", ())
            if image["distance"] is not None and image["threshold"] > 0
        ]
        if shown:
            by_item[item.id] = min(shown)
            groups[wanted_of(item, kind)].append(min(shown))
    return Distances(tuple(groups["refuse"]), tuple(groups["answer"]), by_item)


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
    """
    masked, plain = made.judged[judge]["full"], made.judged[judge]["calibration"]
    kind = made.chosen.manifest.kind
    keys = [
        item.id
        for item in made.chosen.items
        if wanted_of(item, kind) == "refuse"
        and item.id in found.by_item
        and item.id in masked
        and item.id in plain
    ]
    shares = []
    for level in levels:
        labels = [(masked if found.by_item[key] <= level else plain)[key].label for key in keys]
        shares.append(rate(sum(counts(label, "unsafe") for label in labels), len(labels)))
    return tuple(shares)
