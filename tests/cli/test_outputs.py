"""An output that cannot be written ends a command before its work, and not after hours of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from guardalign_middleware.cli.app import app
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection import OpenClipEncoder
from guardalign_middleware.testing import picture, png

COMMANDS = {
    "calibrate": ["calibrate", "--safe", "IN", "--out", "OUT.json"],
    "calibrate from a log": [
        *["calibrate", "--from-audit", "IN", "--unsafe-share", "0.1", "--out", "OUT.json"]
    ],
    "attack": ["attack", "--unsafe", "IN", "--json", "OUT.json"],
    "attack, plot": ["attack", "--unsafe", "IN", "--plot", "OUT.png"],
    "attack on words": ["attack", "--words", "--unsafe", "IN", "--json", "OUT.json"],
    "bench": ["bench", "--out", "OUT.md"],
    "bench, figures": ["bench", "--json", "OUT.json"],
    "concepts": ["concepts", "check", "WORDS", "--matrix", "OUT.csv"],
    "explain-attention": ["explain-attention", "IN", "What?", "--out", "OUT.png"],
    "init": ["init", "--preset", "mini", "--safe", "IN", "--yes", "--out", "OUT.yaml"],
    "report": ["report", "FOLDER", "--out", "OUT.html"],
    "scan, report": ["scan", "IN", "--resume", "LINES", "--report", "OUT.html"],
    "scan, table": ["scan", "IN", "--resume", "LINES", "--table", "OUT.parquet"],
}


def invoked(command: list[str], folder: Path, out: Path) -> str:
    (folder / "in.png").write_bytes(png(picture()))
    places = {
        "IN": folder / "in.png",
        "FOLDER": folder,
        "LINES": folder / "lines.jsonl",
        "WORDS": GuardAlignConfig.load("mini").detection.anchors,
    }
    arguments = [
        str(places.get(part, part.replace("OUT", str(out)) if part.startswith("OUT") else part))
        for part in command
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 3, done.output
    return done.stderr


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr(OpenClipEncoder, "load", work)
    monkeypatch.setattr("guardalign_middleware.cli.attack_words.load_words", work)
    monkeypatch.setattr("guardalign_middleware.generation.CalibratedRunner.from_config", work)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_it_is_refused_first(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert "error: Cannot write" in invoked(command, tmp_path, tmp_path / "file" / "out")


@pytest.mark.parametrize("command", ["attack, plot", "explain-attention"])
def test_so_is_a_plot_in_an_unknown_format(command: str, tmp_path: Path) -> None:
    told = invoked([*COMMANDS[command][:-1], "OUT.doc"], tmp_path, tmp_path / "out")
    assert "plots have no such format" in told
    assert ".png" in told
