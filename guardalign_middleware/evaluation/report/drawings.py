"""The plots of a report, each where the experiment has what it needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guardalign_middleware.evaluation.experiment.figures import Row
from guardalign_middleware.evaluation.experiment.reading import Experiment
from guardalign_middleware.evaluation.ranking import area_estimate
from guardalign_middleware.evaluation.report.blocks import Plot, Section
from guardalign_middleware.evaluation.report.numbers import (
    Distances,
    distances_of,
    flagged,
    roc,
    unsafe_at,
)
from guardalign_middleware.evaluation.report.plots import (
    Axis,
    Line,
    curves,
    histogram,
    points,
    with_mark,
)

_SHARE = Axis("share", 0.0, 1.0)
_LEAST_FOR_ROC = 10


def drawings(made: Experiment, judge: str, rows: Sequence[Row]) -> list[Section]:
    """A section for each plot that can be drawn."""
    found = distances_of(made)
    every = [
        _distances(found),
        _roc(found),
        _thresholds(made, judge, found),
        _strengths(made, rows),
        _attention(made),
        _costs(rows),
    ]
    return [one for one in every if one is not None]


def _distances(found: Distances) -> Section | None:
    parts: list[Plot | str] = []
    if found.unknown:
        parts.append(
            f"{found.unknown} scans of this run lack the smallest ratio of distance and threshold, "
            "which earlier versions did not store. The plots of distances leave these items out; "
            "to have them, make the run again in another folder."
        )
    every = (*found.harmful, *found.harmless)
    if every:
        across = Axis(
            "distance / threshold (unsafe at 1 and below)",
            min(0.5, *every),
            max(2.0, *every),
            log=True,
        )
        groups = [("harmful", found.harmful), ("harmless", found.harmless)]
        drawn = histogram(
            "Histogram of the distances", across, [(name, some) for name, some in groups if some]
        )
        caption = (
            f"Smallest ratio of distance and threshold of each scanned item, {len(found.harmful)} "
            f"harmful and {len(found.harmless)} harmless items."
        )
        parts.append(Plot(with_mark(drawn, across, 1.0, "threshold"), caption))
    return Section("Distances", tuple(parts)) if parts else None


def _roc(found: Distances) -> Section | None:
    if min(len(found.harmful), len(found.harmless)) < _LEAST_FOR_ROC:
        return None
    across, up = Axis("false alarms", 0.0, 1.0), Axis("detected", 0.0, 1.0)
    alarms, hits = roc(found)
    area = area_estimate(found.harmful, found.harmless)
    drawn = curves(
        "ROC of the detector",
        across,
        up,
        [Line("detector", alarms, hits), Line("chance", (0.0, 1.0), (0.0, 1.0))],
    )
    caption = (
        f"Pictures of harmful against those of harmless items; AUROC {area.value:.3f} "
        f"({area.low:.3f}–{area.high:.3f})."
    )
    return Section("Detection", (Plot(drawn, caption),))


def _thresholds(made: Experiment, judge: str, found: Distances) -> Section | None:
    if not found.harmful:
        return None
    levels = tuple(np.geomspace(1 / 64, 4, 25).tolist())
    across = Axis("multiple of the threshold τ", levels[0], levels[-1], log=True)
    lines = [Line("harmful flagged", levels, flagged(found.harmful, levels))]
    if found.harmless:
        lines.append(Line("harmless flagged", levels, flagged(found.harmless, levels)))
    told = "Shares of items whose distances would be flagged."
    below = tuple(level for level in levels if level <= 1.0)
    both = {"full", "calibration"} <= set(made.arms)
    shares = unsafe_at(made, judge, found, below) if both else ()
    if shares:
        lines.append(
            Line(
                "USR",
                below,
                tuple(one.value for one in shares),
                tuple(one.low for one in shares),
                tuple(one.high for one in shares),
            )
        )
        told += (
            " The USR is composed from stored answers: below the threshold in use, an item whose "
            "picture is no longer flagged counts with the answer of the arm calibration. Above it, "
            "other answers would have to be generated."
        )
    drawn = curves("USR and flagged shares by threshold", across, _SHARE, lines)
    return Section(
        "Against the threshold τ", (Plot(with_mark(drawn, across, 1.0, "in use"), told),)
    )


def _strengths(made: Experiment, rows: Sequence[Row]) -> Section | None:
    """USR by γ: the arms without masks, and those with."""
    whole = {row.arm: row for row in rows if row.group == "all" and row.wanted == "refuse"}
    preset = made.folder.identity["chain"]["gamma"]
    lines = []
    for title, zero, kind in (
        ("prefix", "prefix", "calibration"),
        ("masked, prefix", "detection-prefix", "full"),
    ):
        at = {0.0: whole.get(zero), preset: whole.get(kind)}
        for arm, row in whole.items():
            name, sign, gamma = arm.partition("@")
            if sign and name == kind:
                at[float(gamma)] = row
        shown = [
            (gamma, row.unsafe)
            for gamma, row in sorted(at.items(), key=lambda pair: pair[0])
            if row is not None and row.unsafe is not None
        ]
        if len(shown) > 1:
            lines.append(
                Line(
                    title,
                    tuple(gamma for gamma, _ in shown),
                    tuple(one.value for _, one in shown),
                    tuple(one.low for _, one in shown),
                    tuple(one.high for _, one in shown),
                )
            )
    if not lines:
        return None
    most = max(max(line.x) for line in lines)
    drawn = curves(
        "USR by strength of the calibration",
        Axis("γ", 0.0, most),
        Axis("USR", 0.0, 1.0),
        lines,
        dots=True,
    )
    caption = (
        "γ = 0 is the prefix alone. More strengths: guardalign eval … --arms "
        "all,calibration@1,calibration@2"
    )
    return Section("Against γ", (Plot(drawn, caption),))


def _attention(made: Experiment) -> Section | None:
    measured = made.folder.attention()
    if measured is None:
        return None
    layers = tuple(float(layer) for layer in measured["layers"])
    rows = [Line(name, layers, tuple(measured[name])) for name in ("prefix", "calibration")]
    most = max(max(line.y) for line in rows)
    drawn = curves(
        "Attention to the prefix by layer",
        Axis("layer", layers[0], layers[-1], ticks=_few(layers)),
        Axis("share of the attention", 0.0, most * 1.1),
        rows,
        dots=True,
    )
    caption = (
        f"Share of the instruction's attention that goes to the safety prefix, mean over heads and "
        f"{measured['items']} items; γ {measured['gamma']:g} in the layers "
        f"{', '.join(map(str, measured['calibrated'])) or 'none'}."
    )
    return Section("Attention to the prefix", (Plot(drawn, caption),))


def _costs(rows: Sequence[Row]) -> Section | None:
    whole = [
        row
        for row in rows
        if row.group == "all" and row.wanted == "refuse" and row.unsafe is not None
    ]
    if len(whole) < 2:
        return None
    lines = [
        Line(row.arm, (row.seconds,), (row.unsafe.value,), (row.unsafe.low,), (row.unsafe.high,))
        for row in whole
        if row.unsafe is not None
    ]
    seconds = [row.seconds for row in whole]
    across = Axis("seconds an answer", min(seconds) * 0.7, max(seconds) * 1.5, log=True)
    drawn = points("Cost against safety", across, Axis("USR", 0.0, 1.0), lines)
    caption = (
        "Harmful items, scan included, in batches of "
        f"the preset's size. Calls of the model: "
        f"{', '.join(f'{row.arm} {row.calls:.2f}' for row in whole)}."
    )
    return Section("Cost against safety", (Plot(drawn, caption),))


def _few(values: tuple[float, ...]) -> tuple[float, ...]:
    step = max(1, len(values) // 8)
    return values[::step]
