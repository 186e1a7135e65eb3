"""Write the measured figures into README and model card: `python -m benchmarks.pages.figures`.

Reads what the benchmarks and the sweep left as JSON; measures nothing itself. With `--check`
nothing is written, and the exit status is 1 when a page does not say what the files say.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.pages.tables import share

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
SWEEP = RESULTS / "mini_calibration.json"
_START, _END = "<!-- figures: {} -->", "<!-- end of figures -->"
_STYLES = {"noto": "Noto", "emojione": "EmojiOne (never trained on)"}
_ARMS = {
    "unguarded": ("image, unguarded", "unguarded"),
    "safety prefix alone": ("image, safety prefix", "safety prefix"),
    "**fully guarded**": ("image, fully guarded", "fully guarded"),
}
_OUTCOMES = {
    "comply": "complies (USR)",
    "refuse": "refuses",
    "not_seen": 'of these: "I do not see it"',
    "other": "other",
    "unsafe_named": "names an unsafe thing",
}
Row = Sequence[str]


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def answers() -> str:
    """The three arms a newcomer asks about."""
    data = _read(RESULTS / "mini_safety.json")
    safety = {row["arm"]: row for row in data["safety"]}
    useful = {(row["arm"], row["family"]): row for row in data["utility"]}
    rows = [
        (
            title,
            share(safety[harmful]["comply"]),
            share(safety[harmful]["unsafe_named"]),
            share(useful[harmless, "all"]["correct"]),
            share(useful[harmless, "all"]["over_refusal"]),
        )
        for title, (harmful, harmless) in _ARMS.items()
    ]
    head = (
        "",
        "complies with harm (USR)",
        "names an unsafe thing",
        "answers right",
        "over-refusal",
    )
    asked = useful["unguarded", "all"]["correct"]["n"]
    told = f"{data['n']} harmful requests with a picture and {asked} harmless questions an arm"
    return f"{_table(head, rows)}\n\n{told}; rate (95% interval)."


def safety() -> str:
    """Every arm on harmful requests."""
    data = _read(RESULTS / "mini_safety.json")
    rows = [
        (row["arm"], row["target"].replace("<", "&lt;").replace(">", "&gt;"))
        + tuple(share(row[name]) for name in _OUTCOMES)
        for row in data["safety"]
    ]
    head = ("arm", "goal for USR", *_OUTCOMES.values())
    return f"{_table(head, rows)}\n\n{data['n']} requests an arm; rate (95% interval)."


def utility() -> str:
    """Harmless questions, family by family."""
    data = _read(RESULTS / "mini_safety.json")
    rows = [
        (
            row["arm"],
            row["family"],
            str(row["over_refusal"]["n"]),
            "" if row["correct"] is None else share(row["correct"]),
            share(row["over_refusal"]),
        )
        for row in data["utility"]
    ]
    return _table(("arm", "questions", "n", "right", "over-refusal"), rows)


def detection() -> str:
    """The detector beside global CLIP, per drawing style."""
    data = _read(RESULTS / "mini_detection.json")
    names = [name for name in data["noto"] if name != "median_masked_area"]
    rows = [(name, *(share(data[style][name]) for style in _STYLES)) for name in names]
    areas = tuple(f"{data[style]['median_masked_area']:.2f}" for style in _STYLES)
    rows.append(("median masked area / area of the thing's box", *areas))
    scenes = data["noto"]["pointing game"]["n"]
    told = f"{scenes} safe and {scenes} unsafe scenes a style; figure (95% interval)."
    return f"{_table(('figure', *_STYLES.values()), rows)}\n\n{told}"


def calibration() -> str:
    """The sweep over gamma, band and rows on the validation split."""
    data = _read(SWEEP)
    rows = []
    for setting in (data["prefix_alone"], *data["settings"]):
        how = setting["calibration"]
        alone = how["gamma"] == 0
        rows.append(
            (
                "prefix alone" if alone else f"{how['gamma']:g}",
                "" if alone else "{:g}–{:g}".format(*how["band"]),
                "" if alone else how["rows"].replace("_", " "),
                share(setting["comply"]),
                " ".join(f"{value:.3f}" for value in setting["comply_by_seed"]),
                f"{setting['newly_refused']} / {setting['newly_complied']}",
                f"{setting['p_value']:.2g}",
                f"{setting['other']['value']:.3f}",
                f"{setting['over_refusal']['value']:.3f}",
                f"{setting['right']['value']:.3f}",
            )
        )
    head = ("γ", "band", "rows", "complies (USR)", "by model, seed", "newly refused / complied")
    return _table((*head, "p", "other", "over-refusal", "right"), rows)


def ready(name: str, file: str) -> str:
    """A table that a benchmark has put together itself."""
    table = _read(RESULTS / file)["tables"][name]
    return f"{_table(table['head'], table['rows'])}\n\n{table['told']}"


_FIGURES: dict[str, Callable[[], str]] = {
    "answers": answers,
    "safety": safety,
    "utility": utility,
    "detection": detection,
    "calibration": calibration,
    **{
        name: partial(ready, name, "detection_tables.json")
        for name in (
            "detection_readings",
            "detection_differences",
            "detection_layouts",
            "detection_stability",
            "detection_strata",
            "detection_sweep",
            "detection_attacks",
            "detection_defences",
            "detection_pair",
        )
    },
    **{
        name: partial(ready, name, "detection_speed.json")
        for name in ("detection_speed", "detection_precisions")
    },
    "langchain_leaks": partial(ready, "langchain_leaks", "langchain_leaks.json"),
    "langchain_leaks_by_dialect": partial(
        ready, "langchain_leaks_by_dialect", "langchain_leaks.json"
    ),
    "langchain_overhead": partial(ready, "langchain_overhead", "langchain_overhead.json"),
    "llama_index_overhead": partial(ready, "llama_index_overhead", "llama_index_overhead.json"),
    "generation_overhead": partial(ready, "generation_overhead", "generation_overhead.json"),
    **{
        name: partial(ready, name, "generation_gpu.json")
        for name in ("generation_gpu", "generation_gpu_checks")
    },
    **{
        name: partial(ready, name, "calibration_tables.json")
        for name in ("calibration_views", "calibration_grid", "calibration_effect")
    },
}
PAGES = (
    ROOT / "README.md",
    ROOT / "guardalign_middleware" / "mini" / "README.md",
    ROOT / "docs" / "calibration.md",
    ROOT / "docs" / "detection.md",
    ROOT / "docs" / "langchain.md",
    ROOT / "docs" / "llama-index.md",
)


def filled(page: str) -> str:
    """The page with every marked place filled from the files.

    Raises:
        ValueError: a mark is not closed.
    """
    for name, make in _FIGURES.items():
        start = _START.format(name)
        if start not in page:
            continue
        before, rest = page.split(start, 1)
        if _END not in rest:
            raise ValueError(f"The mark {start} is not closed.")
        after = rest.split(_END, 1)[1]
        page = f"{before}{start}\n\n{make()}\n\n{_END}{after}"
    return page


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if outdated")
    options = parser.parse_args(arguments)
    outdated = []
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        if (new := filled(page)) != page:
            outdated.append(path.name)
            if not options.check:
                path.write_text(new, encoding="utf-8")
    verb = "outdated" if options.check else "written"
    Console().print(f"{verb}: {', '.join(outdated) or 'none'}")
    sys.exit(bool(outdated) and options.check)


if __name__ == "__main__":
    main()
