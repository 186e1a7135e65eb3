"""Write the measured figures into the pages: `python -m benchmarks.pages.figures`.

Reads the stored measurements and measures nothing. The figures go between
`<!-- figures: NAME -->` and `<!-- end of figures -->`, on whichever page that mark is. With
`--check` nothing is written, and the exit status is 1 if a page is outdated.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path

from rich.console import Console

from benchmarks.pages.bulk import bulk_soak, bulk_throughput
from benchmarks.pages.peers import peers
from benchmarks.pages.scale import scale_ray, scale_waits
from benchmarks.pages.sight import masks, sight, sight_short
from benchmarks.pages.suites import suites, suites_comparable, suites_prompts
from benchmarks.pages.words import (
    words,
    words_attacks,
    words_held_out,
    words_masked,
    words_short,
    words_time,
    words_trade_off,
)
from benchmarks.results import RESULTS, ROOT, read_json
from benchmarks.tables import estimate, interval, markdown

_END = "<!-- end of figures -->"
_MARK = re.compile(r"<!-- figures: (?P<name>\w+) -->")
_BLOCK = re.compile(rf"(?P<mark>{_MARK.pattern}).*?{_END}", re.DOTALL)
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


def answers() -> str:
    """The three main arms."""
    data = read_json(RESULTS / "mini_safety.json")
    safety = {row["arm"]: row for row in data["safety"]}
    useful = {(row["arm"], row["family"]): row for row in data["utility"]}
    rows = [
        (
            title,
            estimate(safety[harmful]["comply"]),
            estimate(safety[harmful]["unsafe_named"]),
            estimate(useful[harmless, "all"]["correct"]),
            estimate(useful[harmless, "all"]["over_refusal"]),
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
    harmless = useful["unguarded", "all"]["correct"]["n"]
    sample = f"{data['n']} harmful requests with a picture and {harmless} harmless questions an arm"
    return f"{markdown(head, rows)}\n\n{sample}; rate (95% interval)."


def safety() -> str:
    """Harmful requests by arm."""
    data = read_json(RESULTS / "mini_safety.json")
    rows = [
        (row["arm"], escape(row["target"])) + tuple(estimate(row[name]) for name in _OUTCOMES)
        for row in data["safety"]
    ]
    head = ("arm", "goal for USR", *_OUTCOMES.values())
    return f"{markdown(head, rows)}\n\n{data['n']} requests an arm; rate (95% interval)."


def utility() -> str:
    """Harmless questions by arm and family."""
    data = read_json(RESULTS / "mini_safety.json")
    rows = [
        (
            row["arm"],
            row["family"],
            str(row["over_refusal"]["n"]),
            "" if row["correct"] is None else estimate(row["correct"]),
            estimate(row["over_refusal"]),
        )
        for row in data["utility"]
    ]
    return markdown(("arm", "questions", "n", "right", "over-refusal"), rows)


def detection() -> str:
    """The detector and global CLIP, by drawing style."""
    data = read_json(RESULTS / "mini_detection.json")
    names = [name for name in data["noto"] if name != "median_masked_area"]
    rows = [(name, *(estimate(data[style][name]) for style in _STYLES)) for name in names]
    areas = tuple(f"{data[style]['median_masked_area']:.2f}" for style in _STYLES)
    rows.append(("median masked area / area of the thing's box", *areas))
    scenes = data["noto"]["pointing game"]["n"]
    note = f"{scenes} safe and {scenes} unsafe scenes a style; figure (95% interval)."
    return f"{markdown(('figure', *_STYLES.values()), rows)}\n\n{note}"


def calibration() -> str:
    """The sweep over γ, band and rows on the validation split."""
    data = read_json(RESULTS / "mini_calibration.json")
    rows = []
    for setting in (data["prefix_alone"], *data["settings"]):
        config = setting["calibration"]
        alone = config["gamma"] == 0
        rows.append(
            (
                "prefix alone" if alone else f"{config['gamma']:g}",
                "" if alone else "{:g}–{:g}".format(*config["band"]),
                "" if alone else config["rows"].replace("_", " "),
                estimate(setting["comply"]),
                " ".join(f"{value:.3f}" for value in setting["comply_by_seed"]),
                f"{setting['newly_refused']} / {setting['newly_complied']}",
                f"{setting['p_value']:.2g}",
                f"{setting['other']['value']:.3f}",
                f"{setting['over_refusal']['value']:.3f}",
                f"{setting['right']['value']:.3f}",
            )
        )
    head = ("γ", "band", "rows", "complies (USR)", "by model, seed", "newly refused / complied")
    return markdown((*head, "p", "other", "over-refusal", "right"), rows)


def default_calibration() -> str:
    """What the default calibration costs on the validation split."""
    data = read_json(RESULTS / "mini_default_calibration.json")
    rows = []
    for row in data["changes"]:
        change = [100 * row["difference"][key] for key in ("value", "low", "high")]
        rows.append(
            (
                row["name"],
                str(row["difference"]["n"]),
                f"{row['before']:.3f}",
                f"{row['after']:.3f}",
                f"{row['newly']} / {row['no_longer']}",
                interval(change[0], change[1], change[2], "+.2f"),
            )
        )
    head = ("share of", "n", "prefix alone", "with the default", "newly / no longer", "points")
    seeds = ", ".join(map(str, data["seeds"]))
    note = f"The shipped model, validation split, seeds {seeds}; paired difference (95% interval)."
    return f"{markdown(head, rows)}\n\n{note}"


def ready(name: str, file: str) -> str:
    """A table that a benchmark stored ready."""
    stored = read_json(RESULTS / file)["tables"][name]
    return f"{markdown(stored['head'], stored['rows'])}\n\n{stored['told']}"


_OWN: dict[str, Callable[[], str]] = {
    "answers": answers,
    "safety": safety,
    "utility": utility,
    "detection": detection,
    "sight": sight,
    "sight_short": sight_short,
    "sight_dense": partial(sight_short, RESULTS / "mini_sight_dense.json"),
    "masks": masks,
    "calibration": calibration,
    "default_calibration": default_calibration,
    "suites": suites,
    "suites_prompts": suites_prompts,
    "suites_comparable": suites_comparable,
    "words": words,
    "words_short": words_short,
    "words_held_out": words_held_out,
    "words_trade_off": words_trade_off,
    "words_attacks": words_attacks,
    "words_masked": words_masked,
    "words_time": words_time,
    "bulk_soak": bulk_soak,
    "peers": peers,
    "bulk_throughput": bulk_throughput,
    "scale_ray": scale_ray,
    "scale_waits": scale_waits,
}
# The tables that each file holds ready.
_READY = {
    "detection_tables.json": (
        "detection_readings",
        "detection_differences",
        "detection_layouts",
        "detection_stability",
        "detection_strata",
        "detection_sweep",
        "detection_attacks",
        "detection_defences",
        "detection_pair",
    ),
    "detection_speed.json": ("detection_speed", "detection_precisions"),
    "detection_vocabulary.json": ("detection_vocabulary",),
    "mini_named.json": ("mini_named",),
    "cost.json": ("cost_presets", "cost_encoders", "cost_sights"),
    "scale.json": ("scale_million", "scale_size", "scale_concepts", "scale_servers"),
    "encoding.json": ("encoding",),
    "langchain_leaks.json": (
        "langchain_leaks",
        "langchain_leaks_state",
        "langchain_leaks_by_dialect",
    ),
    "llama_index_leaks.json": ("llama_index_leaks",),
    "langchain_overhead.json": ("langchain_overhead",),
    "serving_overhead.json": ("serving_overhead",),
    "llama_index_overhead.json": ("llama_index_overhead",),
    "generation_overhead.json": ("generation_overhead",),
    "generation_gpu.json": ("generation_gpu", "generation_gpu_checks"),
    "calibration_tables.json": ("calibration_views", "calibration_grid", "calibration_effect"),
}
FIGURES: dict[str, Callable[[], str]] = _OWN | {
    name: partial(ready, name, file) for file, names in _READY.items() for name in names
}
"""What each mark is filled with."""


def pages() -> list[Path]:
    """Every page with a mark: README, the model card and the pages of docs/."""
    places = (
        ROOT / "README.md",
        ROOT / "guardalign_middleware" / "mini" / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    )
    return [path for path in places if _MARK.search(path.read_text(encoding="utf-8"))]


def filled(page: str) -> str:
    """The page with the figures of the files at every mark.

    Raises:
        ValueError: a mark is unknown, or not closed.
    """

    def figure(block: re.Match[str]) -> str:
        return f"{block['mark']}\n\n{FIGURES[block['name']]()}\n\n{_END}"

    for mark in _MARK.finditer(page):
        if mark["name"] not in FIGURES:
            raise ValueError(f"The mark {mark[0]} is unknown. Known: {', '.join(FIGURES)}.")
        if page.find(_END, mark.end()) < 0 or _MARK.search(
            page, mark.end(), page.find(_END, mark.end())
        ):
            raise ValueError(f"The mark {mark[0]} is not closed.")
    return _BLOCK.sub(figure, page)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only report outdated pages")
    options = parser.parse_args(arguments)
    outdated = []
    for path in pages():
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
