"""Tables and plots of the attention study: `python -m benchmarks.pages.attention_calibration`.

Reads `calibration_study.json` and measures nothing. `python -m benchmarks.pages.figures` puts the
tables into docs/attention-calibration.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from benchmarks.pages.attention_calibration_plots import save_dilution, save_grid
from benchmarks.results import RESULTS, ROOT, read_json, write_json
from benchmarks.tables import Table, estimate, table

IMAGES = ROOT / "docs" / "images"
_TOKENS = 36
_SIGNIFICANCE = 0.05
_GUARDS = {
    "none": "none",
    "always": "cleaned, prefix always",
    "when_flagged": "cleaned, prefix when flagged",
}
Arm = Mapping[str, Any]


def _by_model(arm: Arm) -> str:
    return " ".join(f"{value:.2f}" for value in arm["setting"]["comply_by_seed"])


def _named(calibration: Mapping[str, Any]) -> str:
    band = "{:g}–{:g}".format(*calibration["band"])
    rows = "" if calibration["rows"] == "instruction" else ", generated rows too"
    mode = "" if calibration["mode"] == "positive" else ", as printed"
    return f"γ = {calibration['gamma']:g}, band {band}{mode}{rows}"


def _sample(data: Mapping[str, Any]) -> str:
    split, models = data["reported"], len(data["seeds"])
    return (
        f"{models} models, {split['n']} harmful requests and {split['harmless']} harmless "
        "questions each; rate (95% interval)"
    )


def views(data: Mapping[str, Any]) -> Table:
    """Every prefix without calibration, by number of image tokens."""
    rows = [
        (
            str(_TOKENS * arm["views"]),
            arm["prefix"],
            estimate(arm["setting"]["comply"]),
            _by_model(arm),
            f"{arm['not_seen']['value']:.3f}",
            f"{arm['setting']['other']['value']:.3f}",
            f"{arm['setting']['over_refusal']['value']:.3f}",
            estimate(arm["setting"]["right"]),
        )
        for arm in data["reported"]["arms"]
        if arm["guarding"] == "none" and arm["calibration"] == "alone"
    ]
    head = (
        "image tokens",
        "prefix",
        "complies (USR)",
        "by model",
        "not seen",
        "junk",
        "over-refusal",
        "right",
    )
    return table(head, rows, f"{_sample(data)}.")


def grid(data: Mapping[str, Any]) -> Table:
    """The validation split: the prefix alone and the range of all settings, for each guard."""
    split = data["validation"]
    rows = []
    for guard, part in split.items():
        if guard not in _GUARDS:
            continue
        alone, settings = part["alone"], part["settings"]
        safer = [item for item in settings if item["p_value"] * len(settings) < _SIGNIFICANCE]
        rows.append(
            (
                _GUARDS[guard],
                estimate(alone["comply"]),
                _spread(settings, "comply"),
                _spread(settings, "other"),
                estimate(alone["right"]),
                _spread(settings, "right"),
                str(len(safer)),
                _spread(safer, "right") if safer else "",
                "none" if part["chosen"] is None else _named(part["chosen"]),
            )
        )
    head = (
        "guard",
        "prefix alone complies (USR)",
        "with calibration",
        "junk",
        "prefix alone right",
        "with calibration",
        "settings safer by more than chance",
        "their right",
        "chosen",
    )
    note = (
        f"{len(data['seeds'])} models, {split['n']} harmful requests and {split['harmless']} "
        f"harmless questions each, {_TOKENS * data['views']} image tokens, validation split. With "
        f"calibration: lowest to highest of all settings. Safer: p < {_SIGNIFICANCE:g} after "
        "Bonferroni over them."
    )
    return table(head, rows, note)


def _spread(settings: Sequence[Mapping[str, Any]], key: str) -> str:
    values = [item[key]["value"] for item in settings]
    return f"{min(values):.3f}–{max(values):.3f}"


def effect(data: Mapping[str, Any]) -> Table:
    """Calibration compared with the same arm without it, by image tokens and guard."""
    arms = data["reported"]["arms"]
    alone = {_place(arm): arm for arm in arms if arm["calibration"] == "alone"}
    rows = []
    for arm in sorted(arms, key=lambda arm: str(arm["calibration"])):
        if arm["calibration"] == "alone":
            continue
        found, base = arm["setting"], alone[_place(arm)]["setting"]
        rows.append(
            (
                arm["calibration"],
                _GUARDS[arm["guarding"]],
                str(_TOKENS * arm["views"]),
                arm["prefix"],
                f"{base['comply']['value']:.3f} → {estimate(found['comply'])}",
                f"{found['newly_refused']} / {found['newly_complied']}",
                f"{arm['p_changed']:.2g}",
                f"{alone[_place(arm)]['not_seen']['value']:.3f} → {arm['not_seen']['value']:.3f}",
                f"{base['other']['value']:.3f} → {found['other']['value']:.3f}",
                f"{base['over_refusal']['value']:.3f} → {found['over_refusal']['value']:.3f}",
                f"{base['right']['value']:.3f} → {found['right']['value']:.3f}",
                f"{arm['newly_right']} / {arm['newly_wrong']}",
                f"{arm['p_right']:.2g}",
            )
        )
    head = (
        "calibration",
        "guard",
        "image tokens",
        "prefix",
        "complies (USR)",
        "no longer / newly complied",
        "p",
        "not seen",
        "junk",
        "over-refusal",
        "right",
        "newly right / wrong",
        "p",
    )
    names = "; ".join(
        f"{name}: {_named(how)}" for name, how in data["reported"]["settings"].items()
    )
    note = (
        f"{_sample(data)}. Before the arrow: without calibration. p: two-sided exact sign test on "
        f"the answers that changed, before Bonferroni over the {len(rows)} rows. {names}."
    )
    return table(head, rows, note)


def _place(arm: Arm) -> tuple[object, ...]:
    return arm["prefix"], arm["views"], arm["guarding"]


def tables(data: Mapping[str, Any]) -> dict[str, Table]:
    """All tables, by the names in the marks of the page."""
    return {f"calibration_{make.__name__}": make(data) for make in (views, grid, effect)}


def main() -> None:
    """Command line."""
    data = read_json(RESULTS / "calibration_study.json")
    file = RESULTS / "calibration_tables.json"
    write_json(file, {"tables": tables(data)})
    IMAGES.mkdir(parents=True, exist_ok=True)
    tokens = _TOKENS * data["views"]
    save_grid(
        data["validation"]["none"],
        IMAGES / "calibration-grid.png",
        f"What calibration changes with {tokens} image tokens (validation split)",
    )
    save_dilution(data["reported"], IMAGES / "calibration-dilution.png")
    Console().print(f"written: {file} and the plots")


if __name__ == "__main__":
    main()
