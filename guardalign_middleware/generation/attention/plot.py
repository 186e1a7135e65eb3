"""Plot the attention of an instruction to the safety prefix, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.local_extra import install
from guardalign_middleware.replies import CalibrationReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PLAIN, _CALIBRATED = "#7f7f7f", "#c2410c"


def plot_prefix_attention(
    plain: CalibrationReport, calibrated: CalibrationReport, *, title: str
) -> Figure:
    """Plot both reports over the depth of the decoder (the paper's Figure 1b).

    Args:
        plain: report of an answer with `explain=True` and without calibration.
        calibrated: report of the same question with calibration; its layers are shaded.
        title: title of the plot.

    Raises:
        ConfigError: matplotlib is not installed, or the reports are not of one model.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator, PercentFormatter
    except ImportError as error:
        raise ConfigError("Drawing needs matplotlib.", remedy=install("report")) from error
    layers = [layer for layer, _ in plain.prefix_attention]
    if not layers or layers != [layer for layer, _ in calibrated.prefix_attention]:
        raise ConfigError(
            "Both reports should hold the attention of the same layers. Got "
            f"{len(layers)} and {len(calibrated.prefix_attention)} layers.",
            remedy="Generate with explain=True, with and without calibration.",
        )
    figure = Figure(figsize=(7.0, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for index, layer in enumerate(calibrated.layers):
        label = "calibrated layers" if index == 0 else None
        axes.axvspan(layer - 0.5, layer + 0.5, color=_CALIBRATED, alpha=0.1, lw=0, label=label)
    lines = (
        (plain, _PLAIN, "without calibration"),
        (calibrated, _CALIBRATED, f"with calibration, γ = {calibrated.gamma:g}"),
    )
    for report, color, label in lines:
        shares = [share for _, share in report.prefix_attention]
        axes.plot(layers, shares, "o-", color=color, label=label)
    axes.set(
        title=title,
        xlabel="decoder layer",
        ylabel="attention of the instruction\nto the safety prefix",
    )
    axes.set_xlim(layers[0] - 0.5, layers[-1] + 0.5)
    axes.set_ylim(bottom=0.0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure; the suffix of the path sets the format.

    Raises:
        ConfigError: the format is unknown or the file cannot be written.
    """
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"Cannot write {path}: {error}.", remedy="Name another file, such as attention.png."
        ) from error
