"""An output that cannot be written ends a command before its work, and not after hours of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from guardalign_middleware.cli.app import app
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection import OpenClipEncoder
from guardalign_middleware.preset_files import find_preset
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


SAME = {
    "scan, report over the results": ["scan", "IN", "--resume", "OUT.html", "--report", "OUT.html"],
    "scan, report over the table": [
        *["scan", "IN", "--resume", "LINES", "--report", "OUT.html", "--table", "OUT.html"]
    ],
    "scan, report over the input": ["scan", "IN", "--resume", "LINES", "--report", "IN"],
    "scan, table over the list": ["scan", "--list", "LIST", "--resume", "LINES", "--table", "LIST"],
    "scan, report over the preset": [
        *["scan", "IN", "--preset", "PRESET", "--resume", "LINES", "--report", "PRESET"]
    ],
    "calibrate over the preset": [
        *["calibrate", "--safe", "IN", "--preset", "PRESET", "--out", "PRESET"]
    ],
    "calibrate over a picture": ["calibrate", "--safe", "IN", "--out", "IN"],
    "calibrate over the log": [
        *["calibrate", "--from-audit", "LIST", "--unsafe-share", "0.1", "--out", "LIST"]
    ],
    "attack": ["attack", "--unsafe", "IN", "--json", "IN"],
    "attack on words": ["attack", "--words", "--unsafe", "IN", "--json", "IN"],
    "bench": ["bench", "--out", "OUT.md", "--json", "OUT.md"],
    "concepts": ["concepts", "check", "LIST", "--matrix", "LIST"],
}


@pytest.mark.parametrize("command", SAME.values(), ids=SAME.keys())
def test_nothing_is_written_over_another_file(command: list[str], tmp_path: Path) -> None:
    files = {"LIST": tmp_path / "list.txt", "PRESET": tmp_path / "guard.yaml"}
    files["LIST"].write_text(f"{tmp_path / 'in.png'}\n")
    files["PRESET"].write_bytes(find_preset("mini").read_bytes())
    before = {file: file.read_bytes() for file in files.values()}
    command = [str(files.get(part, part)) for part in command]
    told = invoked(command, tmp_path, tmp_path / "out")
    assert "would be lost" in told
    assert {file: file.read_bytes() for file in before} == before
    assert (tmp_path / "in.png").read_bytes() == png(picture())
