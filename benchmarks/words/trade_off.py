"""What another bound on false alarms would find: `python -m benchmarks.words.trade_off`.

For several bounds α the threshold of the classifier of orders is fitted as the one that ships, on
the development half, and asked about the held-out screenshots; the other judges stay as they are.
Nothing is chosen by it: the table shows how far the ranking and how far the threshold is to blame.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from benchmarks.results import RESULTS, write_json
from benchmarks.words.fit_thresholds import FALSE_ALARMS, Development
from benchmarks.words.readings import Readings
from benchmarks.words.sets import Case, drawn
from guardalign_middleware.config import WordsConfig
from guardalign_middleware.evaluation.metrics import rate
from guardalign_middleware.words.guards.builtin import BuiltinGuard
from guardalign_middleware.words.guards.guard import Assessment, TextGuard
from guardalign_middleware.words.guards.passage_judge import picture_distance
from guardalign_middleware.words.guards.thresholds import fit_guards
from guardalign_middleware.words.judge import LineJudge
from guardalign_middleware.words.reader import RapidReader
from guardalign_middleware.words.standard_judge import standard_judge

BOUNDS = (0.0025, 0.005, FALSE_ALARMS, 0.02, 0.03, 0.05)


@dataclass(frozen=True)
class Seen:
    """What is known of one picture, whatever the threshold.

    Attributes:
        distance: of its words from an order, by the classifier; infinite if it can say nothing.
        otherwise: whether another judge flags it.
    """

    distance: float
    otherwise: bool

    def flagged(self, threshold: float) -> bool:
        """Whether the picture is flagged with this threshold of the classifier."""
        return self.otherwise or self.distance <= threshold


class Asked:
    """A guard of texts that is asked about each text once."""

    def __init__(self, guard: TextGuard) -> None:
        self._guard, self.fingerprint = guard, guard.fingerprint
        self._known: dict[str, Assessment] = {}

    def assess(self, texts: Sequence[str]) -> tuple[Assessment, ...]:
        """As the guard says, or said."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known |= zip(new, self._guard.assess(new), strict=True)
        return tuple(self._known[text] for text in texts)


def seen(
    cases: Iterable[Case], readings: Readings, guard: TextGuard, others: LineJudge
) -> list[Seen]:
    """Ask about every picture of a set once.

    Args:
        cases: its pictures.
        readings: read them.
        guard: the classifier of orders.
        others: the judges whose thresholds stay.
    """
    found = []
    for case in cases:
        lines = readings.read(case.image).lines
        otherwise = any(one.unsafe for one in others.judge(lines, case.question))
        found.append(Seen(picture_distance(guard, lines), otherwise))
    return found


def share(pictures: Sequence[Seen], threshold: float) -> dict[str, Any]:
    """The share of the pictures that are flagged, with its interval."""
    return asdict(rate(sum(one.flagged(threshold) for one in pictures), len(pictures)))


def most_within(orders: Sequence[Seen], harmless: Sequence[Seen], bound: float) -> dict[str, Any]:
    """The most orders that any threshold finds which flags at most `bound` of these harmless ones.

    It is chosen by the pictures that it is reported on, so it says how well they are ranked, and is
    no figure of a guard.
    """
    candidates = [-math.inf, *(one.distance for one in orders if math.isfinite(one.distance))]
    kept = [
        threshold
        for threshold in candidates
        if sum(one.flagged(threshold) for one in harmless) <= bound * len(harmless)
    ]
    return share(orders, max(kept, default=-math.inf))


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readings", type=Path, help="file in which readings are kept")
    parser.add_argument("--output", type=Path, default=RESULTS / "words_trade_off.json")
    options = parser.parse_args(arguments)
    readings = Readings(RapidReader.load(WordsConfig().max_pixels), options.readings)
    guard = Asked(BuiltinGuard.load("injection"))
    others = standard_judge(injection_classifier=None)
    orders, harmless = (
        seen(track(list(drawn(name)), description=name), readings, guard, others)
        for name in ("held-out orders", "held-out screens")
    )
    shown = Development.drawn()
    rows: list[dict[str, Any]] = []
    for bound in track(BOUNDS, description="thresholds"):
        (profile,) = fit_guards([guard], shown.safe("injection"), shown.orders, bound)
        rows.append(
            {
                "bound": bound,
                "ships": bound == FALSE_ALARMS,
                "development orders": profile.fit.detected,
                "held-out orders": share(orders, profile.threshold),
                "held-out harmless": share(harmless, profile.threshold),
            }
        )
    best = most_within(orders, harmless, 0.03)
    write_json(options.output, {"bounds": rows, "most orders at 3% of these harmless": best})
    for row in rows:
        Console().print(
            f"α = {row['bound']}: orders {row['held-out orders']['value']:.3f}, "
            f"harmless {row['held-out harmless']['value']:.3f}"
        )
    Console().print(f"ranking: {best['value']:.3f} of the orders at 3% of the harmless")


if __name__ == "__main__":
    main()
