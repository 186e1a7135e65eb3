"""The picture of the attention to the prefix, and the command that draws it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from guardalign_middleware.cli import app
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.generation.attention.plot import plot_prefix_attention, save_figure
from guardalign_middleware.mini.demo import demo_scenes
from guardalign_middleware.replies import CalibrationReport
from guardalign_middleware.types import CanonicalImage

PLAIN = CalibrationReport("off", prefix=True, prefix_attention=((0, 0.1), (2, 0.2), (3, 0.05)))
CALIBRATED = CalibrationReport(
    "on", prefix=True, gamma=0.5, layers=(2, 3), prefix_attention=((0, 0.1), (2, 0.4), (3, 0.3))
)


def test_both_lines_and_the_calibrated_layers_are_drawn() -> None:
    axes = plot_prefix_attention(PLAIN, CALIBRATED, title="a model").axes[0]
    drawn = [tuple(zip(*line.get_data(), strict=True)) for line in axes.lines]
    assert drawn == [PLAIN.prefix_attention, CALIBRATED.prefix_attention]
    assert [patch.get_x() for patch in axes.patches] == [1.5, 2.5]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "calibrated layers",
        "without calibration",
        "with calibration, γ = 0.5",
    ]
    assert axes.get_title() == "a model"


def test_reports_without_attention_are_refused() -> None:
    with pytest.raises(ConfigError, match="0 and 3 layers"):
        plot_prefix_attention(CalibrationReport("off", prefix=True), CALIBRATED, title="")


def test_without_matplotlib_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"guardalign-core\[report\]"):
        plot_prefix_attention(PLAIN, CALIBRATED, title="")


@pytest.mark.parametrize("name", ["no/such/folder.png", "picture.doc"])
def test_a_file_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="Cannot write"):
        save_figure(plot_prefix_attention(PLAIN, CALIBRATED, title=""), tmp_path / name)


def test_the_command(tmp_path: Path) -> None:
    scene, target = tmp_path / "scene.png", tmp_path / "attention.png"
    CanonicalImage(demo_scenes()[0].scene.pixels).to_pil().save(scene)
    arguments = ["explain-attention", str(scene), "What is in the picture?", "-o", str(target)]
    result = CliRunner().invoke(app, [*arguments, "--json", "--gamma", "1"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    # The preset calibrates nothing, so the band is the usual one: the middle of six layers.
    assert (told["gamma"], told["layers"]) == (1.0, [1, 2, 3, 4])
    assert [layer for layer, _ in told["plain"]] == list(range(6))
    assert told["calibrated"][1][1] > told["plain"][1][1]
    with Image.open(target) as picture:
        assert picture.width > 500
    result = CliRunner().invoke(app, [*arguments, "--gamma", "0"])
    assert result.exit_code == 3
    assert "--gamma" in result.stderr
