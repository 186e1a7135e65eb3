"""The attack report as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.attacks.report import AttackReport, AttackRow
from guardalign_middleware.evaluation.metrics import Estimate
from guardalign_middleware.local_extra import install

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW_INCHES = 0.21
# Other colours than those of the families beside them.
_COLUMN_COLORS = ("0.6", "C8", "C9", "midnightblue")


def save_plot(report: AttackReport, path: Path) -> None:
    """Plot the share detected under each attack and with each counter-measure, with intervals.

    Attacks stand in one column, by family, each family under its name and in its own colour.

    Raises:
        ConfigError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("Plots need matplotlib.", remedy=install("report")) from error
    families = len({row.family for row in report.attacks})
    height = 1.2 + _ROW_INCHES * (len(report.attacks) + families)
    figure = Figure(figsize=(11, height), dpi=100, layout="constrained")
    # The counter-measures are few: stretched to the attacks' height they would be hard to read.
    grid = figure.add_gridspec(2, 2)
    left, right = figure.add_subplot(grid[:, 0]), figure.add_subplot(grid[0, 1])
    _attacks(left, report.attacks)
    left.set_title(f"attacks on the detector (n = {report.images})", fontsize=10)
    _defences(right, report)
    right.set_title("counter-measures, threshold unchanged", fontsize=10)
    for axes in (left, right):
        axes.set_xlim(0.0, 1.0)
        axes.grid(axis="x", color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel("detected (95% interval)", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.invert_yaxis()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except OSError as error:
        raise ConfigError(f"Cannot write {path}: {error.strerror}.") from error


def _attacks(axes: Axes, rows: Sequence[AttackRow]) -> None:
    names: list[str] = []
    for number, (family, members) in enumerate(groupby(rows, key=lambda row: row.family)):
        arms = list(members)
        if family:
            names.append(family)
        places = [float(len(names) + index) for index in range(len(arms))]
        _bars(axes, places, [row.detected for row in arms], 0.75, f"C{number}", None)
        names += [row.attack for row in arms]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.8, len(names) - 0.2)
    headings = {row.family for row in rows}
    for label in axes.get_yticklabels():
        if label.get_text() in headings:
            label.set_fontweight("bold")


def _defences(axes: Axes, report: AttackReport) -> None:
    columns = tuple(report.defences[0].detected)
    height = 0.8 / len(columns)
    for number, (column, color) in enumerate(zip(columns, _COLUMN_COLORS, strict=True)):
        offset = (number - (len(columns) - 1) / 2) * height
        places = [index + offset for index in range(len(report.defences))]
        values = [row.detected[column] for row in report.defences]
        _bars(axes, places, values, height, color, column)
    labels = [f"{row.defence}\n(cost ×{row.scans:.1f})" for row in report.defences]
    axes.set_yticks(range(len(labels)), labels)
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.4, -0.12))


def _bars(
    axes: Axes,
    places: Sequence[float],
    values: Sequence[Estimate],
    height: float,
    color: str,
    label: str | None,
) -> None:
    lengths = [value.value for value in values]
    errors = [
        [value.value - value.low for value in values],
        [value.high - value.value for value in values],
    ]
    axes.barh(places, lengths, height, color=color, label=label)
    axes.errorbar(lengths, places, xerr=errors, fmt="none", ecolor="0.3", elinewidth=0.8)
