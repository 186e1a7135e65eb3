"""Tables and plots of the detection measurements: `python -m benchmarks.pages.detection`.

Reads the results of `make bench` and measures nothing. `python -m benchmarks.pages.figures` puts
the tables into the pages of docs/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from benchmarks.detection.layouts import COMPARED, WHOLE
from benchmarks.detection.scores import COSINE, OT_SOFTMAX, READINGS, SOFTMAX_MAX, SOFTMAX_MEAN
from benchmarks.pages.detection_plots import save_layouts, save_readings, save_strata
from benchmarks.results import RESULTS, ROOT, read_json, write_json
from benchmarks.tables import Table, estimate, table

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


def _short(stored: Mapping[str, float]) -> str:
    return f"{stored['value']:.2f}"


def readings(data: Mapping[str, Any]) -> Table:
    """All readings of the shipped patches, and of the whole image (global CLIP)."""
    rows = [
        [reading, *(estimate(data["readings"][COMPARED][reading].get(name)) for name in _FIGURES)]
        for reading in READINGS
    ]
    for reading in (COSINE, SOFTMAX_MEAN, SOFTMAX_MAX):
        figures = data["readings"][WHOLE][reading]
        rows.append([f"{WHOLE}, {reading}", *(estimate(figures.get(name)) for name in _FIGURES)])
    return table(("reading", *_FIGURES), rows, f"{_scenes(data)}; figure (95% interval).")


def differences(data: Mapping[str, Any]) -> Table:
    """The shipped reading minus each other one."""
    names = ("AUROC", "AUPRC", "detected at 5%")
    rows = [
        [reading, *(estimate(figures[name]) for name in names)]
        for reading, figures in data["against transport"].items()
    ]
    note = (
        f"“{OT_SOFTMAX}” minus the reading, on the same patches of the same scenes; difference "
        "(95% interval, paired). Above 0: transport is better."
    )
    return table(("reading", *names), rows, note)


def layouts(data: Mapping[str, Any]) -> Table:
    """Number, cost and detection of the patches of each layout."""
    rows = []
    for layout, counts in data["layouts"].items():
        figures = data["readings"][layout]
        rows.append(
            [
                f"**{layout}** (compared)" if layout == COMPARED else layout,
                f"{counts['patches']:.0f}",
                f"{counts['forwards']:.0f}",
                str(counts["iterations"]),
                estimate(figures[OT_SOFTMAX]["AUROC"]),
                estimate(figures[OT_SOFTMAX]["detected at 5%"]),
                estimate(figures[OT_SOFTMAX].get("pointing game")),
                estimate(figures[SOFTMAX_MAX]["detected at 5%"]),
                estimate(figures[COSINE]["detected at 5%"]),
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
    note = f"{_scenes(data)}; the reading is “{OT_SOFTMAX}” where none is named."
    return table(head, rows, note)


def stability(data: Mapping[str, Any]) -> Table:
    """False alarms of a τ on other patches than those it was chosen for."""
    names = list(data["stability"][READINGS[0]])
    rows = [
        [f"{reading}, τ of 5% on {COMPARED}", *(_short(by_layout[name]) for name in names)]
        for reading, by_layout in data["stability"].items()
    ]
    rows += [
        [f"{reading}, τ = 0.42", *(_short(by_layout[name]) for name in names)]
        for reading, by_layout in data["fixed"].items()
    ]
    note = "Share of the safe scenes that is flagged. A τ belongs to the patches it was chosen for."
    return table(("reading and threshold", *names), rows, note)


def strata(data: Mapping[str, Any]) -> Table:
    """Detection by size of the thing and by clutter."""
    names = {"size": "side of the thing, px", "clutter": "things in the scene"}
    rows = [
        [
            row["reading"] if row["layout"] == COMPARED else f"{row['layout']}, {row['reading']}",
            names[row["by"]],
            f"{row['from']}–{row['to']}",
            str(row["detected"]["n"]),
            estimate(row["detected"]),
            estimate(row["pointing"]) if row["layout"] == COMPARED else "",
        ]
        for row in data["strata"]
    ]
    head = ("reading", "by", "from–to", "n", "detected at 5%", "pointing game")
    return table(head, rows, "Unsafe scenes; τ is that of 5% of all safe scenes.")


def sweep(data: Mapping[str, Any]) -> Table:
    """Ranking by ε and contrast temperature."""
    names = ("AUROC", "AUPRC", "detected at 1%", "detected at 5%")
    rows = [
        [setting, *(f"{figures[name]:.3f}" for name in names)]
        for setting, figures in data["sweep"].items()
    ]
    return table(("setting", *names), rows, f"Shipped patches; {_scenes(data)}.")


def attacks(data: Mapping[str, Any]) -> Table:
    """Attacks on the shipped detector."""
    rows = [
        [row["family"], row["attack"], estimate(row["detected"]), estimate(row["located"])]
        for row in data["attacks"]
    ]
    head = ("family", "attack", "something found", "all unsafe things at least half covered")
    note = f"{data['images']} unsafe scenes that are detected without an attack; share (95%)."
    return table(head, rows, note)


def defences(data: Mapping[str, Any]) -> Table:
    """Counter-measures: their cost, false alarms and detection under attack."""
    columns = list(data["defences"][0]["detected"])
    rows = [
        [
            row["defence"],
            f"×{row['scans']:.1f}",
            estimate(row["false_alarms"]),
            *(estimate(row["detected"][column]) for column in columns),
        ]
        for row in data["defences"]
    ]
    head = ("counter-measure", "cost", "false alarms", *columns)
    note = (
        f"{data['images']} unsafe and {data['safe']} safe scenes, threshold unchanged. An image is "
        "flagged when any of its views is, so the false alarms rise too: recalibrate."
    )
    return table(head, rows, note)


def pair(data: Mapping[str, Any]) -> Table:
    """The gain from a second encoder."""
    names = {"none": "the first alone", "two encoders": "two encoders"}
    rows = [row | {"defence": names[row["defence"]]} for row in data["defences"]]
    note = (
        f"{data['images']} unsafe and {data['safe']} safe scenes. Thresholds are those of the "
        "pair's profile, where each encoder has half of the false alarms; alone, the first keeps "
        "its own."
    )
    return {**defences({**data, "defences": rows}), "told": note}


def _scenes(data: Mapping[str, Any]) -> str:
    return f"{data['safe']} safe and {data['unsafe']} unsafe scenes"


def tables(
    measured: Mapping[str, Any], attacked: Mapping[str, Any], paired: Mapping[str, Any]
) -> dict[str, Table]:
    """All tables, by the names in the marks of the pages."""
    return {
        f"detection_{make.__name__}": make(data)
        for data, makers in (
            (measured, (readings, differences, layouts, stability, strata, sweep)),
            (attacked, (attacks, defences)),
            (paired, (pair,)),
        )
        for make in makers
    }


def main() -> None:
    """Command line."""
    measured, attacked, paired = (read_json(RESULTS / name) for name in SOURCES)
    file = RESULTS / "detection_tables.json"
    write_json(file, {"tables": tables(measured, attacked, paired)})
    IMAGES.mkdir(parents=True, exist_ok=True)
    save_readings(measured, IMAGES / "detection-readings.png")
    save_layouts(measured, IMAGES / "detection-layouts.png")
    save_strata(measured, IMAGES / "detection-strata.png")
    Console().print(f"written: {file} and the plots")


if __name__ == "__main__":
    main()
