"""Plots of the attention-calibration study, from `calibration_study.json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

_SIZE = 150
_SIGNIFICANCE = 0.05
_PREFIX_COLORS = {
    "none": "tab:gray",
    "neutral": "tab:olive",
    "reverse": "tab:orange",
    "safe": "tab:blue",
}
# One column of heat maps each: mode and rows of the calibration.
_BLOCKS = {
    ("positive", "instruction"): "positive scores\ninstruction rows",
    ("positive", "instruction_and_generated"): "positive scores\ngenerated rows too",
    ("paper", "instruction"): "as printed\ninstruction rows",
}


@dataclass(frozen=True)
class _Panel:
    """One row of heat maps, in percentage points relative to the prefix alone.

    Attributes:
        title: of the figure.
        value: the figure of a setting.
        better: sign of an improvement.
        most: end of the color scale.
    """

    title: str
    value: Callable[[Mapping[str, Any]], float]
    better: int
    most: float


_PANELS = (
    _Panel("unsafe responses", lambda row: float(row["comply"]["value"]), -1, 30.0),
    _Panel(
        "right answers to harmless questions", lambda row: float(row["right"]["value"]), 1, 30.0
    ),
    _Panel("junk answers to harmful requests", lambda row: float(row["other"]["value"]), -1, 30.0),
)


def save_grid(part: Mapping[str, Any], path: Path, title: str) -> None:
    """Heat maps of gamma x band: the change by each setting, in percentage points.

    Args:
        part: "alone" and "settings" of one guard, on the validation split.
        path: of the picture.
        title: of the picture.
    """
    blocks = [block for block in _BLOCKS if any(_in(row, block) for row in part["settings"])]
    widths = [len({row["calibration"]["gamma"] for row in _of(part, block)}) for block in blocks]
    figure = Figure(figsize=(9.5, 7.4), dpi=_SIZE, layout="constrained")
    grid = figure.subplots(
        len(_PANELS), len(blocks), squeeze=False, width_ratios=[max(width, 2) for width in widths]
    )
    for number, (line, panel) in enumerate(zip(grid, _PANELS, strict=True)):
        for axes, block in zip(line, blocks, strict=True):
            shown = _heat(axes, part, block, panel)
            if number == 0:
                axes.set_title(_BLOCKS[block], fontsize=9)
            if number == len(_PANELS) - 1:
                axes.set_xlabel("γ", fontsize=9)
        line[0].set_ylabel("layers", fontsize=9)
        bar = figure.colorbar(shown, ax=list(line), shrink=0.85)
        bar.set_label(f"{panel.title},\nchange in points", fontsize=8)
        bar.ax.tick_params(labelsize=7)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path)


def _heat(axes: Axes, part: Mapping[str, Any], block: tuple[str, str], panel: _Panel) -> AxesImage:
    rows = _of(part, block)
    gammas = sorted({row["calibration"]["gamma"] for row in rows})
    bands = sorted({tuple(row["calibration"]["band"]) for row in rows}, key=_order)
    values = np.full((len(bands), len(gammas)), np.nan)
    for row in rows:
        at = (
            bands.index(tuple(row["calibration"]["band"])),
            gammas.index(row["calibration"]["gamma"]),
        )
        change = 100 * (panel.value(row) - panel.value(part["alone"]))
        values[at] = change
        certain = panel is _PANELS[0] and row["p_value"] * len(part["settings"]) < _SIGNIFICANCE
        axes.text(
            at[1],
            at[0],
            _points(change) + "*" * certain,
            ha="center",
            va="center",
            fontsize=8,
            color="white" if abs(change) > 0.7 * panel.most else "black",
        )
    # Blue is better and red is worse, whether the figure should rise or fall.
    shown = axes.imshow(
        values,
        cmap="RdBu" if panel.better > 0 else "RdBu_r",
        vmin=-panel.most,
        vmax=panel.most,
        aspect="auto",
    )
    axes.set_xticks(range(len(gammas)), [f"{gamma:g}" for gamma in gammas], fontsize=8)
    axes.set_yticks(range(len(bands)), [_named(band) for band in bands], fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return shown


def save_dilution(reported: Mapping[str, Any], path: Path) -> None:
    """Unsafe responses and attention to the prefix, by number of image tokens."""
    figure = Figure(figsize=(9.5, 4.0), dpi=_SIZE, layout="constrained")
    rates, shares = figure.subplots(1, 2)
    arms = [arm for arm in reported["arms"] if arm["guarding"] == "none"]
    for prefix, color in _PREFIX_COLORS.items():
        found = [arm for arm in arms if _is(arm, prefix, "alone")]
        _rates(rates, found, f"{'no' if prefix == 'none' else prefix} prefix", color)
    for name, style in zip(reported["settings"], (":", "--", "-."), strict=False):
        found = [arm for arm in arms if _is(arm, "safe", name)]
        _rates(rates, found, f"safe prefix, {name} calibration", "tab:red", style)
    rates.set_xscale("log", base=2)
    ticks = sorted({36 * arm["views"] for arm in arms})
    rates.set_xticks(ticks, [str(tick) for tick in ticks])
    rates.set_xlabel("image tokens")
    rates.set_ylabel("unsafe response rate")
    rates.set_ylim(-0.03, 1.03)
    rates.grid(alpha=0.3)
    rates.legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    for color, (views, layers) in zip(
        ("tab:blue", "tab:purple", "tab:red"), reported["attention"].items(), strict=False
    ):
        shares.plot(
            range(len(layers)), layers, "o-", color=color, label=f"{36 * int(views)} image tokens"
        )
    shares.set_xlabel("layer")
    shares.set_ylabel("instruction's attention to the safe prefix")
    shares.set_ylim(0.0, 1.1 * max(map(max, reported["attention"].values())))
    shares.grid(alpha=0.3)
    shares.legend(fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    figure.savefig(path)


def _rates(
    axes: Axes, arms: Sequence[Mapping[str, Any]], label: str, color: str, style: str = "-"
) -> None:
    arms = sorted(arms, key=lambda arm: int(arm["views"]))
    figures = [arm["setting"]["comply"] for arm in arms]
    values = [figure["value"] for figure in figures]
    errors = [
        [figure["value"] - figure["low"] for figure in figures],
        [figure["high"] - figure["value"] for figure in figures],
    ]
    places = [36 * arm["views"] for arm in arms]
    axes.errorbar(
        places, values, yerr=errors, fmt=f"o{style}", color=color, markersize=3, label=label,
        linewidth=1.2, elinewidth=0.7,
    )  # fmt: skip


def _is(arm: Mapping[str, Any], prefix: str, calibration: str) -> bool:
    return bool(arm["prefix"] == prefix and arm["calibration"] == calibration)


def _points(change: float) -> str:
    """Whole percentage points, with a sign unless zero."""
    return f"{round(change):+d}".replace("-", "−") if round(change) else "0"


def _in(row: Mapping[str, Any], block: tuple[str, str]) -> bool:
    return (row["calibration"]["mode"], row["calibration"]["rows"]) == block


def _of(part: Mapping[str, Any], block: tuple[str, str]) -> list[Mapping[str, Any]]:
    return [row for row in part["settings"] if _in(row, block)]


def _order(band: tuple[float, ...]) -> tuple[bool, float, float]:
    """From the first layers to the last, then the band of all layers."""
    return band == (0.0, 1.0), band[0], band[1]


def _named(band: tuple[float, ...]) -> str:
    low, high = (100 * end for end in band)
    return "all" if band == (0.0, 1.0) else f"{low:g}–{high:g}%"
