"""Plots of the readings and layouts, from `detection_readings.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from benchmarks.detection.layouts import COMPARED, WHOLE
from benchmarks.detection.scores import (
    COSINE,
    OT_SOFTMAX,
    PAPER_PRINTED,
    READINGS,
    SOFTMAX_MAX,
)

_SIZE = 110
# Offsets of a name from its point: right or left, above or below.
_PLACES = tuple(product((5, -5), (3, -9, 12, -18)))
_LINES = (OT_SOFTMAX, SOFTMAX_MAX, COSINE, PAPER_PRINTED)


def save_readings(data: Mapping[str, Any], path: Path) -> None:
    """AUROC, detection and pointing game of every reading of the shipped patches."""
    figure = Figure(figsize=(9, 3.6), dpi=_SIZE, layout="constrained")
    names = ("AUROC", "detected at 5%", "pointing game")
    choices = [(COMPARED, reading) for reading in READINGS] + [(WHOLE, SOFTMAX_MAX)]
    labels = [reading if layout == COMPARED else layout for layout, reading in choices]
    for axes, name in zip(figure.subplots(1, 3, sharey=True), names, strict=True):
        for place, (layout, reading) in enumerate(choices):
            estimate = data["readings"][layout][reading].get(name)
            if estimate is not None:
                _point(axes, estimate, place, "tab:red" if reading == OT_SOFTMAX else "tab:blue")
        axes.set_title(name, fontsize=10)
        axes.set_yticks(range(len(labels)), labels, fontsize=8)
        axes.tick_params(axis="x", labelsize=8)
        axes.set_xlim(0.0, 1.02)
        axes.grid(axis="x", alpha=0.3)
    axes.invert_yaxis()
    figure.savefig(path)


def save_layouts(data: Mapping[str, Any], path: Path) -> None:
    """Detection by number of pictures that have to be encoded."""
    figure = Figure(figsize=(7, 3.8), dpi=_SIZE, layout="constrained")
    axes = figure.subplots()
    points: dict[str, dict[str, tuple[float, float]]] = {}
    for reading, marker in ((OT_SOFTMAX, "o"), (SOFTMAX_MAX, "x")):
        forwards, shares = [], []
        for layout, counts in data["layouts"].items():
            forwards.append(counts["forwards"])
            shares.append(data["readings"][layout][reading]["detected at 5%"]["value"])
        axes.plot(forwards, shares, marker, label=reading, alpha=0.8)
        points[reading] = dict(
            zip(data["layouts"], zip(forwards, shares, strict=True), strict=True)
        )
    axes.set_xscale("log")
    axes.set_xlim(0.6, 1000)
    axes.set_xlabel("pictures encoded for one scene")
    axes.set_ylabel("detected at 5% false alarms")
    axes.set_ylim(-0.03, 1.05)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.draw_without_rendering()
    _name_points(axes, points[OT_SOFTMAX])
    figure.savefig(path)


def _name_points(axes: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Put each name next to its point where it overlaps no other; the axes must be laid out."""
    taken: list[Bbox] = []
    for name, point in sorted(points.items(), key=lambda item: item[1]):
        for x, y in _PLACES:
            side = "left" if x > 0 else "right"
            label = axes.annotate(
                name, point, (x, y), textcoords="offset points", fontsize=6, ha=side
            )
            box = label.get_window_extent()
            if (x, y) == _PLACES[-1] or not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            label.remove()


def save_strata(data: Mapping[str, Any], path: Path) -> None:
    """Detection by size of the unsafe thing and by number of things."""
    figure = Figure(figsize=(8, 3.4), dpi=_SIZE, layout="constrained")
    titles = {"size": "side of the unsafe thing, px", "clutter": "things in the scene"}
    choices = [(COMPARED, reading) for reading in _LINES] + [(WHOLE, SOFTMAX_MAX)]
    panels = figure.subplots(1, 2, sharey=True)
    panels[0].set_ylabel("detected at 5% false alarms")
    for axes, (kind, title) in zip(panels, titles.items(), strict=True):
        for number, (layout, reading) in enumerate(choices):
            rows = [
                row
                for row in data["strata"]
                if (row["layout"], row["reading"], row["by"]) == (layout, reading, kind)
            ]
            _line(axes, rows, number, reading if layout == COMPARED else layout)
        axes.set_title(title, fontsize=10)
        axes.set_ylim(-0.03, 1.05)
        axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="center right", bbox_to_anchor=(1.0, 0.62))
    figure.savefig(path)


def _line(axes: Axes, rows: Sequence[Mapping[str, Any]], number: int, label: str) -> None:
    places = [place + 0.05 * number for place in range(len(rows))]
    values = [row["detected"]["value"] for row in rows]
    errors = list(zip(*(_errors(row["detected"]) for row in rows), strict=True))
    axes.errorbar(places, values, yerr=errors, marker="o", markersize=3, linewidth=1, label=label)
    axes.set_xticks(range(len(rows)), [f"{row['from']}–{row['to']}" for row in rows], fontsize=8)


def _point(axes: Axes, estimate: Mapping[str, float], place: int, color: str) -> None:
    errors = [[length] for length in _errors(estimate)]
    axes.errorbar([estimate["value"]], [place], xerr=errors, fmt="o", markersize=4, color=color)


def _errors(estimate: Mapping[str, float]) -> tuple[float, float]:
    """Lengths down and up; a bootstrap interval need not contain the value."""
    value = estimate["value"]
    return max(value - estimate["low"], 0.0), max(estimate["high"] - value, 0.0)
