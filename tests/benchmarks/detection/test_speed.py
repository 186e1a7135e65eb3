"""The benchmark measures what it says, on a model too small for its figures to mean much."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from benchmarks.detection import speed
from benchmarks.detection.precisions import PRECISIONS, changes, margins, precision_table
from benchmarks.detection.speed import goals, measure, speed_table, void
from benchmarks.detection.transports import Transports
from guardalign_middleware.config import PatchConfig
from guardalign_middleware.detection import AnchorBank

torch.set_num_threads(1)


class InFp32(speed.RandomWords):
    """Stands in for every precision: an int8 tower takes longer to export than all timings here."""

    def __init__(self, model: Any, tokenizer: Any, config: Any, **options: Any) -> None:
        fp32 = config.model_copy(update={"precision": "fp32"})
        super().__init__(model, tokenizer, fp32, **options)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    torch.manual_seed(0)
    vision = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 1, "head_width": 32}
    text = {"vocab_size": 99, "context_length": 9, "width": 32, "heads": 2, "layers": 1}
    model: Any = open_clip.CLIP(32, vision, text).eval()
    model.visual.preprocess_cfg = {
        "size": 32,
        "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.3, 0.25),
        "interpolation": "bicubic",
        "mode": "RGB",
        "resize_mode": "shortest",
        "fill_color": 0,
    }
    options = Namespace(device="cpu", model="ViT-B-32-quickgelu", pairs=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "_SIDE", 600)
        patch.setattr(speed, "RandomWords", InFp32)
        return measure(model, options)


def test_every_goal_belongs_to_a_comparison(found: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in found["comparisons"]}
    assert set(goals("cpu")) < set(rows)
    assert all(0.0 < row["low"] <= row["ratio"] <= row["high"] for row in rows.values())
    assert all(row["pairs"] == 2 for row in rows.values())
    # A part takes less than the whole, whatever the machine does meanwhile.
    assert rows["transport ÷ scan"]["ratio"] < 1.0
    assert rows["scan of a picture seen before ÷ scan"]["ratio"] < 1.0
    assert rows["POT's loop ÷ transport"]["ratio"] > 1.0


def test_the_arms_do_the_same_work(found: dict[str, Any]) -> None:
    assert found["crops"] == 25
    assert found["transport"]["largest_difference"] < 1e-4
    assert found["transport"]["solver"] == "kernel"
    assert found["crops_differ_by_levels"] <= 2.0
    assert found["batch_changes_distance_by"] < 1e-5


def test_the_table_says_what_was_reached(found: dict[str, Any]) -> None:
    rows = speed_table(found)["rows"]
    assert {len(row) for row in rows} == {4}
    reached = {name: word for name, _, goal, word in rows if goal}
    assert set(reached) == set(goals("cpu"))
    for row in found["comparisons"]:
        if row["name"] in reached:
            goal = goals("cpu")[row["name"]]
            missed = row["ratio"] < goal.least or row["ratio"] > goal.most
            assert reached[row["name"]] == ("**no**" if missed else "yes")


def test_a_void_run_says_so(found: dict[str, Any]) -> None:
    first, *rest = found["comparisons"]
    quiet, noisy = (
        {**found, "comparisons": [{**first, "ratio": ratio}, *rest]} for ratio in (1.01, 1.03)
    )
    assert not void(quiet)
    assert "Void" not in speed_table(quiet)["told"]
    assert void(noisy)
    assert "Void" in speed_table(noisy)["told"]


def test_transport_problems_are_as_hard_as_those_of_a_trained_encoder() -> None:
    bank = AnchorBank({"weapon": ("a gun", "a knife")}, {"dog": ("a dog",) * 4, "sky": ("sky",)})
    problem = Transports(bank, patches=25, width=512, device="cpu")
    cosines = problem.patches @ torch.cat(problem.concepts).T
    assert cosines.mean() == pytest.approx(0.2, abs=0.1)
    assert 0.02 < cosines.std() < 0.1


def test_flips_and_their_band() -> None:
    exact = np.array([-0.3, 0.3, -0.01, 0.02, 0.04, -0.2])
    found = {"fp32": exact, "int8": exact + np.array([0.0, 0.0, 0.02, -0.03, -0.01, 0.1])}
    row = changes(found)["int8"]
    assert row["flips"]["value"] == pytest.approx(2 / 6)
    assert row["band"] == pytest.approx(0.02)
    assert row["in_band"] == 2
    assert row["largest_change"] == pytest.approx(0.1)
    assert changes(found)["fp32"]["flips"]["value"] == 0.0
    rows = precision_table(changes(found))["rows"]
    assert rows[0][:2] == ["fp32", ""]
    assert rows[1][:4] == ["int8", "2 of 6", "±0.0200", "2"]


def test_precisions_on_scenes_of_the_miniature() -> None:
    found = margins(scenes=2, patches=PatchConfig(sizes=(192,), unit="pixels", overlap=0.0))
    assert set(found) == set(PRECISIONS)
    for precision, values in found.items():
        assert np.abs(values - found["fp32"]).max() < 0.1, precision
    assert not np.array_equal(found["int8"], found["fp32"])
