"""The page about concepts runs as it is printed, but for the real encoder of its preset."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from guardalign_middleware.cli import app
from guardalign_middleware.preset_files import find_preset
from guardalign_middleware.types import CanonicalImage
from tests.docs.pages import blocks_of

PAGE = blocks_of("docs/concepts.md")


def code(language: str) -> list[str]:
    return [block.code for block in PAGE if block.language == language]


@pytest.mark.evidence
def test_the_page_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    concepts, preset = code("yaml")
    Path("concepts.yaml").write_text(concepts)
    # What the page's real encoder would need a network for.
    mini = find_preset("mini")
    settings = yaml.safe_load(preset)
    clip = mini.parent.parent / "mini" / "clip"
    settings["detection"]["encoder"] = {"model": f"local-dir:{clip}"}
    settings["detection"]["sees"] = {"kind": "squashed", "side": 56}  # one crop
    Path("guard.yaml").write_text(yaml.safe_dump(settings))
    safe = Path("photos/safe")
    safe.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(10):
        coarse = CanonicalImage(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).to_pil()
        coarse.resize((80, 72)).save(safe / f"{number}.png")
    check, calibrate, scan = (shlex.split(line) for line in code("sh"))
    assert CliRunner().invoke(app, check[1:]).exit_code == 0
    fitted = CliRunner().invoke(app, calibrate[1:])
    assert fitted.exit_code == 0, fitted.output
    looked = CliRunner().invoke(app, scan[1:])
    assert looked.exit_code in {0, 1}, looked.output
    assert len(list(Path("found").iterdir())) == 10
    capsys.readouterr()
    names: dict[str, Any] = {}
    for block in code("python"):
        exec(compile(block, "concepts.md", "exec"), names)
    said = capsys.readouterr().out
    assert "explosive block ('bomb', 'dynamite')" in said
    assert "['animal', 'drug', 'fruit']" in said
