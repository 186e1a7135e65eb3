"""How many pictures a promise takes, and what a number of pictures can promise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from guardalign_middleware.config import DetectionConfig
from guardalign_middleware.detection import ThresholdProfile
from guardalign_middleware.detection.forms import configured_forms
from guardalign_middleware.evaluation.metrics import rate

BOUNDS = (0.1, 0.05, 0.02, 0.01)
"""Bounds that are commonly asked for."""


@dataclass(frozen=True)
class Counts:
    """The pictures of one side, and what they are used for.

    Attributes:
        all: distinct pictures.
        held_out: left out of the fit, to measure the error rate.
        ways: of a safe picture to be flagged, each with its share of the bound: forms, categories
            or encoders. 1 for unsafe pictures.
    """

    all: int
    held_out: int
    ways: int = 1

    @classmethod
    def of(cls, count: int, share: float, ways: int = 1) -> Counts:
        """With the share of the pictures held out, as `guardalign calibrate` splits them."""
        return cls(count, round(share * count), ways)

    @property
    def fitted(self) -> int:
        """Pictures that set the threshold."""
        return self.all - self.held_out

    @property
    def smallest(self) -> float:
        """The smallest bound that they are always enough for: F / α − 1 pictures are."""
        return self.ways / (self.fitted + 1)

    @property
    def widest(self) -> float | None:
        """The upper end of the interval of the measured rate, if no error is found; None = none."""
        return rate(0, self.held_out).high if self.held_out else None


def needed(bound: float, share: float, ways: int = 1) -> int:
    """How many pictures are always enough for a bound, those that are held out included."""
    count = math.ceil(ways / bound - 1 - 1e-9)
    while Counts.of(count, share, ways).fitted < ways / bound - 1 - 1e-9:
        count += 1
    return count


def explained(
    safe: Counts,
    unsafe: Counts,
    share: float,
    max_false_alarm: float | None,
    max_miss: float | None,
) -> Iterator[str]:
    """What the pictures are used for and can promise, in sentences.

    Args:
        safe: safe pictures.
        unsafe: unsafe pictures.
        share: that is held out.
        max_false_alarm: the bound of false alarms that is asked for.
        max_miss: the bound of misses that is asked for.
    """
    for name, counts, error, bound in (
        ("safe", safe, "false alarms", max_false_alarm),
        ("unsafe", unsafe, "misses", max_miss),
    ):
        if not counts.all:
            yield f"No {name} pictures: nothing is measured or promised about {error}."
            continue
        yield (
            f"{counts.all} {name} pictures: {counts.fitted} set the threshold, {counts.held_out} "
            f"are held out to measure {error}. {_measures(counts)}"
        )
        if bound is None:
            continue
        short = shortfall(counts, error, share, bound)
        if short is None:
            enough = needed(bound, share, counts.ways)
            promise = f"to promise at most {bound:.3g} of {error}"
            yield f"They are enough {promise} ({enough} always are)."
        else:
            yield f"They {short}"
    rows = [f"{bound:.0%} {needed(bound, share, safe.ways)}" for bound in BOUNDS]
    yield f"Safe pictures for a promise of false alarms, held out included: {', '.join(rows)}."
    rows = [f"{bound:.0%} {needed(bound, share)}" for bound in BOUNDS]
    yield f"Unsafe pictures for a promise of misses: {', '.join(rows)}."


def explained_fit(profile: ThresholdProfile) -> Iterator[str]:
    """As `explained`, of the pictures that thresholds were fitted to."""
    fit = profile.fit
    if fit.traffic is not None:
        yield (
            f"Fitted to {fit.traffic.images:,} pictures of a log, none of them labelled; at most "
            f"{fit.traffic.unsafe_share:.3g} of them were taken to be unsafe."
        )
        return
    ways = max(1, len(profile.by_form)) * max(1, len(profile.by_category)) * len(profile.members)
    safe, unsafe = (
        Counts(fitted + held_out[1], held_out[1], ways)
        for fitted, held_out, ways in (
            (fit.safe_images, fit.held_out_safe or (0, 0), ways),
            (fit.unsafe_images, fit.held_out_unsafe or (0, 0), 1),
        )
    )
    share = safe.held_out / safe.all if safe.all else 0.0
    yield from explained(safe, unsafe, share, fit.max_false_alarm, fit.max_miss)


def shortfall(counts: Counts, error: str, share: float, bound: float) -> str | None:
    """What is to be said of fewer pictures than are always enough for a bound, else None."""
    enough = needed(bound, share, counts.ways)
    if counts.all >= enough:
        return None
    return (
        f"may not be enough to promise at most {bound:.3g} of {error}: {enough} always are, and "
        f"with these {counts.smallest:.3g} can always be promised."
    )


def configured_ways(detection: DetectionConfig) -> int:
    """Forms in which a picture is looked at, as far as the preset tells."""
    names = {form.kind for form in configured_forms(detection.sees)}
    return len(names) + ("model" in detection.sees)


def _measures(counts: Counts) -> str:
    if counts.widest is None:
        return "None is left to measure with."
    return f"If none of these errs, the rate may still be up to {counts.widest:.1%} (95% interval)."
