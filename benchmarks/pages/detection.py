"""Tables and plots of docs/detection.md: `python -m benchmarks.pages.detection`.

Reads what the commands of `make bench` measured, and measures nothing. The tables go into the page
by `python -m benchmarks.pages.figures`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.detection.layouts import SHIPPED, WHOLE
from benchmarks.detection.scores import COSINE, OT_SOFTMAX, READINGS, SOFTMAX_MAX, SOFTMAX_MEAN
from benchmarks.pages.detection_plots import save_layouts, save_readings, save_strata
from benchmarks.pages.tables import Table, share, table

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "images"
SOURCES = ("detection_readings.json", "detection_attacks.json", "detection_pair.json")
_FIGURES = (
    "AUROC",
    "AUPRC",
    "detected at 1%",
    "detected at 5%",
    "pointing game",
    "region IoU",
)


def _short(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.2f}"


def readings(data: Mapping[str, Any]) -> Table:
    """All readings of the shipped patches, and global CLIP."""
    rows = [
        [reading, *(share(data["readings"][SHIPPED][reading].get(name)) for name in _FIGURES)]
        for reading in READINGS
    ]
    for reading in (COSINE, SOFTMAX_MEAN, SOFTMAX_MAX):
        figures = data["readings"][WHOLE][reading]
        rows.append([f"{WHOLE}, {reading}", *(share(figures.get(name)) for name in _FIGURES)])
    return table(("reading", *_FIGURES), rows, f"{_scenes(data)}; figure (95% interval).")


def differences(data: Mapping[str, Any]) -> Table:
    """The shipped reading against every other one."""
    names = ("AUROC", "AUPRC", "detected at 5%")
    rows = [
        [reading, *(share(figures[name]) for name in names)]
        for reading, figures in data["against transport"].items()
    ]
    told = (
        f"“{OT_SOFTMAX}” minus the reading, on the same patches of the same scenes; difference "
        "(95% interval, paired). Above 0: transport is better."
    )
    return table(("reading", *names), rows, told)


def layouts(data: Mapping[str, Any]) -> Table:
    """The patches: how many, what they cost and what they find."""
    rows = []
    for layout, facts in data["layouts"].items():
        figures = data["readings"][layout]
        rows.append(
            [
                f"**{layout}** (shipped)" if layout == SHIPPED else layout,
                f"{facts['patches']:.0f}",
                f"{facts['forwards']:.0f}",
                str(facts["iterations"]),
                share(figures[OT_SOFTMAX]["AUROC"]),
                share(figures[OT_SOFTMAX]["detected at 5%"]),
                share(figures[OT_SOFTMAX].get("pointing game")),
                share(figures[SOFTMAX_MAX]["detected at 5%"]),
                share(figures[COSINE]["detected at 5%"]),
            ]
        )
    head = (
        "patches",
        "M",
        "pictures encoded",
        "most iterations",
        "AUROC",
        "detected at 5%",
        "pointing game",
        f"at 5%, {SOFTMAX_MAX}",
        f"at 5%, {COSINE}",
    )
    told = f"{_scenes(data)}; the reading is “{OT_SOFTMAX}” where none is named."
    return table(head, rows, told)


def stability(data: Mapping[str, Any]) -> Table:
    """What a τ does on other patches than those it was chosen for."""
    names = list(data["stability"][READINGS[0]])
    rows = [
        [f"{reading}, τ of 5% on {SHIPPED}", *(_short(by_layout[name]) for name in names)]
        for reading, by_layout in data["stability"].items()
    ]
    rows += [
        [f"{reading}, τ = 0.42", *(_short(by_layout[name]) for name in names)]
        for reading, by_layout in data["fixed"].items()
    ]
    told = "Share of the safe scenes that is flagged. A τ belongs to the patches it was chosen for."
    return table(("reading and threshold", *names), rows, told)


def strata(data: Mapping[str, Any]) -> Table:
    """Small things and clutter."""
    names = {"size": "side of the thing, px", "clutter": "things in the scene"}
    rows = [
        [
            row["reading"] if row["layout"] == SHIPPED else f"{row['layout']}, {row['reading']}",
            names[row["by"]],
            f"{row['from']}–{row['to']}",
            str(row["detected"]["n"]),
            share(row["detected"]),
            share(row["pointing"]) if row["layout"] == SHIPPED else "",
        ]
        for row in data["strata"]
    ]
    head = ("reading", "by", "from–to", "n", "detected at 5%", "pointing game")
    return table(head, rows, "Unsafe scenes; τ is that of 5% of all safe scenes.")


def sweep(data: Mapping[str, Any]) -> Table:
    """ε and the temperature of the contrast."""
    names = ("AUROC", "AUPRC", "detected at 1%", "detected at 5%")
    rows = [
        [setting, *(f"{figures[name]:.3f}" for name in names)]
        for setting, figures in data["sweep"].items()
    ]
    return table(("setting", *names), rows, f"Shipped patches; {_scenes(data)}.")


def attacks(data: Mapping[str, Any]) -> Table:
    """Attacks on the detector as it is shipped."""
    rows = [
        [row["attack"], share(row["detected"]), share(row["located"])] for row in data["attacks"]
    ]
    head = ("attack", "something found", "all unsafe things at least half covered")
    told = f"{data['images']} unsafe scenes that are detected without an attack; share (95%)."
    return table(head, rows, told)


def defences(data: Mapping[str, Any]) -> Table:
    """Counter-measures."""
    columns = list(data["defences"][0]["detected"])
    rows = [
        [
            row["defence"],
            f"×{row['scans']:.1f}",
            share(row["false_alarms"]),
            *(share(row["detected"][column]) for column in columns),
        ]
        for row in data["defences"]
    ]
    head = ("counter-measure", "cost", "false alarms", *columns)
    told = (
        f"{data['images']} unsafe and {data['safe']} safe scenes, threshold unchanged. An image is "
        "flagged when any of its views is, so the false alarms rise too: recalibrate."
    )
    return table(head, rows, told)


def pair(data: Mapping[str, Any]) -> Table:
    """What a second encoder is worth."""
    names = {"none": "the first alone", "two encoders": "two encoders"}
    rows = [row | {"defence": names[row["defence"]]} for row in data["defences"]]
    told = (
        f"{data['images']} unsafe and {data['safe']} safe scenes. Thresholds are those of the "
        "pair's profile, where each encoder has half of the false alarms; alone, the first keeps "
        "its own."
    )
    return {**defences({**data, "defences": rows}), "told": told}


def _scenes(data: Mapping[str, Any]) -> str:
    return f"{data['safe']} safe and {data['unsafe']} unsafe scenes"


def tables(
    measured: Mapping[str, Any], attacked: Mapping[str, Any], doubled: Mapping[str, Any]
) -> dict[str, Table]:
    """All tables of the page, by the names that stand in its marks."""
    return {
        f"detection_{make.__name__}": make(data)
        for data, makers in (
            (measured, (readings, differences, layouts, stability, strata, sweep)),
            (attacked, (attacks, defences)),
            (doubled, (pair,)),
        )
        for make in makers
    }


def main() -> None:
    """Command line."""
    measured, attacked, doubled = (
        json.loads((RESULTS / name).read_text(encoding="utf-8")) for name in SOURCES
    )
    file = RESULTS / "detection_tables.json"
    made = tables(measured, attacked, doubled)
    text = json.dumps({"tables": made}, indent=1, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")
    IMAGES.mkdir(parents=True, exist_ok=True)
    save_readings(measured, IMAGES / "detection-readings.png")
    save_layouts(measured, IMAGES / "detection-layouts.png")
    save_strata(measured, IMAGES / "detection-strata.png")
    Console().print(f"{file} and the plots are written")


if __name__ == "__main__":
    main()
