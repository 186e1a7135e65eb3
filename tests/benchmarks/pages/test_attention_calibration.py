"""The calibration page says what the study measured, and pairs what belongs together."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.pages.attention_calibration import RESULTS, effect, grid, tables, views
from benchmarks.pages.attention_calibration_plots import save_dilution, save_grid


def share(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 90}


def row(comply: float, **calibration: object) -> dict[str, Any]:
    how = {"gamma": 0.0, "band": [0.0, 1.0], "mode": "positive", "rows": "instruction"}
    return {
        "calibration": {**how, **calibration},
        "comply": share(comply),
        "comply_by_seed": [comply] * 3,
        "other": share(0.0),
        "over_refusal": share(0.0),
        "right": share(0.9),
        "newly_refused": 6,
        "newly_complied": 1,
        "p_value": 0.001,
    }


def arm(prefix: str, calibration: str, comply: float, seen: int = 16) -> dict[str, Any]:
    return {
        "prefix": prefix,
        "calibration": calibration,
        "views": seen,
        "guarding": "none",
        "setting": row(comply),
        "not_seen": share(0.1),
        "newly_right": 2,
        "newly_wrong": 3,
        "p_changed": 0.125,
        "p_right": 1.0,
    }


DATA: dict[str, Any] = {
    "seeds": [0, 1, 2],
    "views": 16,
    "validation": {
        "n": 30,
        "harmless": 50,
        "none": {
            "alone": row(0.6),
            "settings": [
                row(0.5, gamma=gamma, band=band)
                for gamma in (0.5, 2.0)
                for band in ([0.3, 0.7], [0.0, 1.0])
            ],
            "chosen": None,
        },
    },
    "reported": {
        "n": 30,
        "harmless": 50,
        "settings": {"default": {"gamma": 0.5, "band": [0.3, 0.7], "mode": "positive",
                                 "rows": "instruction"}},
        "attention": {"1": [0.3, 0.2], "16": [0.1, 0.05]},
        "arms": [
            arm("safe", "alone", 0.3, seen=1),
            arm("safe", "alone", 0.6),
            arm("none", "alone", 0.97),
            arm("safe", "default", 0.55),
        ],
    },
}  # fmt: skip


def test_the_grid_has_a_line_for_each_guard_it_was_run_behind() -> None:
    (found,) = grid(DATA)["rows"]
    assert found[0] == "none"
    assert found[1] == "0.600 (0.550–0.650)"
    assert found[2] == "0.500–0.500"
    assert found[-3:] == ["4", "0.900–0.900", "none"]
    always = {**DATA["validation"]["none"], "chosen": row(0.1, gamma=2.0)["calibration"]}
    always["settings"] = [{**row(0.55), "p_value": 0.03}, row(0.1, gamma=2.0)]
    both = grid({**DATA, "validation": {**DATA["validation"], "always": always}})["rows"]
    assert both[1][0] == "cleaned, prefix always"
    assert both[1][2] == "0.100–0.550"
    # Of two settings one is safer: with two tries for chance, .03 is not enough.
    assert both[1][-3:] == ["1", "0.900–0.900", "γ = 2, band 0–1"]


def test_an_effect_stands_beside_the_same_arm_without_calibration() -> None:
    table = effect(DATA)
    (found,) = table["rows"]
    assert "0.600 → 0.550 (0.500–0.600)" in found
    assert "6 / 1" in found
    assert "2 / 3" in found
    assert "γ = 0.5, band 0.3–0.7" in table["told"]


def test_views_are_told_in_image_tokens() -> None:
    assert [line[0] for line in views(DATA)["rows"]] == ["36", "576", "576"]


def test_plots_are_pictures(tmp_path: Path) -> None:
    save_grid(DATA["validation"]["none"], tmp_path / "grid.png", "title")
    save_dilution(DATA["reported"], tmp_path / "dilution.png")
    for name in ("grid.png", "dilution.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 300


def test_the_stored_tables_are_those_of_the_stored_figures() -> None:
    data = json.loads((RESULTS / "calibration_study.json").read_text(encoding="utf-8"))
    stored = json.loads((RESULTS / "calibration_tables.json").read_text(encoding="utf-8"))
    assert stored["tables"] == tables(data)
