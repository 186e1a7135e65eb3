"""`guardalign bench` on the miniature models, with pictures and answers as small as can be."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from guardalign_middleware.bench import measure
from guardalign_middleware.cli import bench as module
from guardalign_middleware.cli.app import app
from guardalign_middleware.testing import picture, png


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = partial(measure.Plan, sizes=((48, 32),), asked=(48, 32))
    monkeypatch.setattr(module, "Plan", tiny)


@pytest.mark.evidence
def test_the_miniature_models(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "secret-name.png").write_bytes(png(picture()))
    args = ["bench", "--pairs", "3", "--tokens", "3", "--out", str(tmp_path / "bench.md")]
    args += ["--json", str(tmp_path / "bench.json"), "--images", str(tmp_path / "own")]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 1, done.output  # too few pairs
    page = (tmp_path / "bench.md").read_text()
    assert "3 pairs are fewer than 20" in page
    # Every answer had exactly three tokens, also of a model that would have stopped earlier.
    assert "tokens instead of" not in page
    assert "| 1 of your own |" in page
    assert "guarded ÷ unguarded" in page
    assert "secret-name" not in page
    assert str(tmp_path) not in page
    stored = json.loads((tmp_path / "bench.json").read_text())
    assert stored["valid"] is False
    assert stored["about"]["preset"] == "mini"
    assert {each["how"] for each in stored["answers"]} >= {"unguarded", "guarded"}


@pytest.mark.slow
def test_a_preset_without_thresholds_can_be_measured(tmp_path: Path) -> None:
    from guardalign_middleware.preset_files import find_preset

    shipped = find_preset("mini")
    lines = shipped.read_text().splitlines()
    bare = [line for line in lines if not line.strip().startswith("profile:")]
    assert len(bare) == len(lines) - 1
    text = "\n".join(bare).replace("../", f"{shipped.parent.parent}/")
    (tmp_path / "bare.yaml").write_text(text)
    args = ["bench", "--pairs", "3", "--scan-only", "--out", str(tmp_path / "bench.md")]
    done = CliRunner().invoke(app, [*args, "--preset", str(tmp_path / "bare.yaml")])
    assert done.exit_code == 1, done.output
    assert "scan ÷ scan (A/A)" in (tmp_path / "bench.md").read_text()


def test_what_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    args = ["bench", "--out", str(tmp_path / "bench.md"), "--device", "abacus"]
    done = CliRunner().invoke(app, args)
    assert (done.exit_code, "is not a device" in done.stderr) == (3, True)
    done = CliRunner().invoke(app, ["bench", "--pairs", "1"])
    assert done.exit_code == 3
    assert not (tmp_path / "bench.md").exists()
