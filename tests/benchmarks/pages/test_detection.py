"""The tables and plots of docs/detection.md are those of the measurements beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.detection.scores import READINGS
from benchmarks.pages.detection import RESULTS, SOURCES, tables
from benchmarks.pages.detection_plots import save_layouts, save_readings, save_strata
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection import Detector


def read(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def test_the_stored_tables_are_those_of_the_measurements() -> None:
    made = tables(*map(read, SOURCES))
    assert read("detection_tables.json")["tables"] == made, (
        "run: python -m benchmarks.pages.detection"
    )
    for name, table in made.items():
        assert table["rows"], name
        assert {len(row) for row in table["rows"]} == {len(table["head"])}, name
    first = [row[0] for row in made["detection_readings"]["rows"]]
    assert first[: len(READINGS)] == list(READINGS)


def test_the_pair_that_is_attacked_fits_its_profile() -> None:
    preset = GuardAlignConfig.load("benchmarks/second/preset.yaml").detection
    first, second = Detector.from_config(preset).meters
    (shipped,) = Detector.from_config(GuardAlignConfig.load("mini").detection).meters
    assert first.binding == shipped.binding != second.binding


@pytest.mark.parametrize("save", [save_readings, save_layouts, save_strata])
def test_plots_are_small_pictures(save: Any, tmp_path: Path) -> None:
    save(read("detection_readings.json"), tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.width > 600
    assert (tmp_path / "plot.png").stat().st_size < 200_000
