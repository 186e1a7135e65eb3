"""The attack report as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.attacks.report import AttackReport
from guardalign_middleware.evaluation.metrics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def save_plot(report: AttackReport, path: Path) -> None:
    """Plot the share detected under each attack and with each counter-measure, with intervals.

    Raises:
        ConfigError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            "Plots need matplotlib.", remedy="pip install 'guardalign-middleware[report]'"
        ) from error
    attacks = [(row.attack, row.detected) for row in report.attacks]
    columns = tuple(report.defences[0].detected)
    figure = Figure(figsize=(10, 5.5), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    names = [name for name, _ in attacks]
    _bars(left, names, [estimate for _, estimate in attacks], 0.0, 0.7, "tab:blue", None)
    left.set_title(f"attacks on the detector (n = {report.images})", fontsize=10)
    height = 0.8 / len(columns)
    for number, column in enumerate(columns):
        values = [row.detected[column] for row in report.defences]
        offset = (number - (len(columns) - 1) / 2) * height
        labels = [f"{row.defence}\n(cost ×{row.scans:.1f})" for row in report.defences]
        _bars(right, labels, values, offset, height, f"C{number}", column)
    right.set_title("counter-measures, threshold unchanged", fontsize=10)
    right.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)
    for axes in (left, right):
        axes.set_xlim(0.0, 1.0)
        axes.set_xlabel("detected (95% interval)", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.invert_yaxis()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except OSError as error:
        raise ConfigError(f"Cannot write {path}: {error.strerror}.") from error


def _bars(
    axes: Axes,
    labels: list[str],
    values: list[Estimate],
    offset: float,
    height: float,
    color: str,
    label: str | None,
) -> None:
    places = [number + offset for number in range(len(labels))]
    lengths = [value.value for value in values]
    errors = [
        [value.value - value.low for value in values],
        [value.high - value.value for value in values],
    ]
    axes.barh(places, lengths, height, color=color, label=label)
    axes.errorbar(lengths, places, xerr=errors, fmt="none", ecolor="0.3", elinewidth=0.8)
    axes.set_yticks(range(len(labels)), labels)
