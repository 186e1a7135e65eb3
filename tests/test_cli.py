from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from guardalign_middleware import GuardAlign, ImageGuard
from guardalign_middleware.cli import app
from tests.doubles import all_red, picture, png, red_chain, red_detector, red_guard

ASKED = "what is it?"


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands with a guard that finds red and a runner that echoes."""
    monkeypatch.setattr(ImageGuard, "from_preset", lambda preset: red_guard())
    monkeypatch.setattr(GuardAlign, "from_config", lambda config: red_chain())


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "deeper").mkdir(parents=True)
    (folder / "plain.png").write_bytes(png(picture()))
    (folder / "red.png").write_bytes(png(picture(red=True)))
    (folder / "deeper" / "red.JPG").write_bytes(png(picture(red=True, side=80)))
    (folder / "notes.txt").write_text("no picture")
    return folder


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def strange_png(width: int, height: int) -> bytes:
    """A PNG of that size in a few hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (width + 1) * height, 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def half_jpeg(path: Path) -> bytes:
    Image.effect_noise((128, 128), 80).save(path, "JPEG")
    data = path.read_bytes()
    return data[: len(data) // 2]


BAD: dict[str, Callable[[Path], object]] = {
    "empty.png": lambda path: path.write_bytes(b""),
    "text.png": lambda path: path.write_text("I am a text file."),
    "half.jpg": lambda path: path.write_bytes(half_jpeg(path)),
    "line.png": lambda path: path.write_bytes(strange_png(1, 20_000)),
    "missing.png": lambda path: None,
    "directory": lambda path: path.mkdir(),
}


@pytest.fixture(params=BAD)
def bad(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / str(request.param)
    BAD[request.param](path)
    return path


def one_clear_error(result: Result, *words: str) -> None:
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert "Traceback" not in line
    for word in words:
        assert word in line


@pytest.mark.usefixtures("doubles")
class TestScan:
    def test_exit_0_when_all_is_allowed(self, pictures: Path) -> None:
        result = run("scan", pictures / "plain.png")
        assert result.exit_code == 0
        assert result.stdout.startswith("allow")

    def test_exit_1_when_something_is_masked(self, pictures: Path) -> None:
        result = run("scan", pictures / "plain.png", pictures / "red.png")
        assert result.exit_code == 1
        first, second = result.stdout.splitlines()
        assert first.startswith("allow")
        assert second.startswith("mask")
        assert "weapon at (" in second

    def test_json_is_one_object_a_line(self, pictures: Path) -> None:
        result = run("scan", "--json", pictures / "red.png", pictures / "plain.png")
        red, plain = (json.loads(line) for line in result.stdout.splitlines())
        assert set(red) == {
            "source", "decision", "distance", "threshold", "category", "regions", "profile",
        }  # fmt: skip
        assert red["source"] == str(pictures / "red.png")
        assert red["decision"] == "mask"
        assert set(red["regions"][0]) == {"box", "category", "distance"}
        assert all(isinstance(number, int) for number in red["regions"][0]["box"])
        assert (plain["decision"], plain["regions"]) == ("allow", [])

    def test_folders_are_searched(self, pictures: Path) -> None:
        result = run("scan", "--json", pictures)
        sources = [json.loads(line)["source"] for line in result.stdout.splitlines()]
        assert [str(Path(source).relative_to(pictures)) for source in sources] == [
            "deeper/red.JPG", "plain.png", "red.png",
        ]  # fmt: skip
        assert result.exit_code == 1

    def test_overlays_are_written_for_every_image(self, pictures: Path, tmp_path: Path) -> None:
        out = tmp_path / "a" / "b"
        run("scan", pictures, "--overlay", out)
        assert len(list(out.iterdir())) == 3
        for file in out.iterdir():
            with Image.open(file) as overlay:
                overlay.load()

    def test_an_overlay_folder_that_cannot_be_made(self, pictures: Path) -> None:
        file = pictures / "notes.txt"
        one_clear_error(run("scan", pictures / "plain.png", "--overlay", file), "notes.txt")

    def test_a_bad_input_is_one_clear_error(self, bad: Path) -> None:
        one_clear_error(run("scan", bad), bad.name)
        one_clear_error(run("scan", "--json", bad), bad.name)

    def test_the_others_are_still_scanned(self, bad: Path, pictures: Path) -> None:
        result = run("scan", "--json", pictures / "plain.png", bad, pictures / "red.png")
        assert result.exit_code == 2
        assert len(result.stdout.splitlines()) == 2
        assert len(result.stderr.strip().splitlines()) == 1

    def test_a_url_is_not_fetched(self) -> None:
        one_clear_error(run("scan", "http://127.0.0.1:9/a.png"))


@pytest.mark.usefixtures("doubles")
class TestAsk:
    def test_the_answer_is_on_standard_output(self, pictures: Path) -> None:
        result = run("ask", pictures / "plain.png", ASKED)
        assert result.exit_code == 0
        assert result.stdout == f"echo: {ASKED} [1 image]\n"
        assert result.stderr.startswith("allow")

    def test_streamed_it_is_the_same(self, pictures: Path) -> None:
        whole = run("ask", pictures / "red.png", ASKED)
        streamed = run("ask", pictures / "red.png", ASKED, "--stream")
        assert streamed.stdout == whole.stdout
        assert streamed.exit_code == 0

    def test_json(self, pictures: Path) -> None:
        reply = json.loads(run("ask", "--json", pictures / "red.png", ASKED).stdout)
        assert set(reply) >= {"answer", "verdicts", "calibration", "usage"}
        assert reply["verdicts"][0]["decision"] == "mask"
        assert reply["usage"]["total_tokens"] > 0

    def test_a_blocked_image_is_answered(self, tmp_path: Path) -> None:
        path = tmp_path / "all.png"
        path.write_bytes(png(all_red()))
        result = run("ask", path, ASKED)
        assert result.exit_code == 0
        assert result.stdout == "I cannot help with this image.\n"
        assert result.stderr.startswith("block")

    def test_a_bad_input_is_one_clear_error(self, bad: Path) -> None:
        one_clear_error(run("ask", bad, ASKED), bad.name)

    def test_json_and_stream_exclude_each_other(self, pictures: Path) -> None:
        assert run("ask", "--json", "--stream", pictures / "plain.png", ASKED).exit_code == 2


def own_preset(tmp_path: Path, **runner: str) -> Path:
    """A preset whose encoder directory holds no weights."""
    (tmp_path / "encoder").mkdir()
    (tmp_path / "anchors.yaml").write_text("categories: {weapon: [red]}\nneutral: {blue: [blue]}")
    profile = red_detector().profile
    assert profile is not None
    profile.save(tmp_path / "profile.json")
    data = {
        "name": "own",
        "detection": {
            "encoder": {"model": "local-dir:encoder"},
            "anchors": "anchors.yaml",
            "profile": "profile.json",
        },
    }
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({**data, "runner": runner} if runner else data))
    return path


class TestPresets:
    def test_an_unknown_one(self, pictures: Path) -> None:
        one_clear_error(run("scan", pictures, "--preset", "nope"), "'nope'", "mini")
        one_clear_error(run("ask", pictures / "red.png", ASKED, "-p", "nope"), "'nope'", "mini")

    def test_one_that_was_never_calibrated(self, pictures: Path) -> None:
        one_clear_error(run("scan", pictures, "-p", "siglip"), "siglip", "Calibrate")

    def test_an_encoder_directory_without_weights(self, pictures: Path, tmp_path: Path) -> None:
        result = run("scan", pictures, "-p", own_preset(tmp_path))
        one_clear_error(result, str(tmp_path / "encoder"), "safetensors")

    def test_a_model_directory_without_weights(self, pictures: Path, tmp_path: Path) -> None:
        (tmp_path / "llava").mkdir()
        preset = own_preset(tmp_path, model="./llava")
        result = run("ask", "--no-guard", pictures / "red.png", ASKED, "-p", preset)
        one_clear_error(result, str(tmp_path / "llava"))

    def test_one_without_a_runner(self, pictures: Path, tmp_path: Path) -> None:
        result = run("ask", pictures / "red.png", ASKED, "-p", own_preset(tmp_path))
        one_clear_error(result, "no runner")


def guardalign(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from guardalign_middleware.cli import main; main()"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=200, check=False
    )


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from guardalign_middleware.cli import app\n"
        "from typer.testing import CliRunner\n"
        "for command in ('demo', 'scan', 'ask'):\n"
        "    assert CliRunner().invoke(app, [command, '--help']).exit_code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


def test_all_bad_inputs_at_once_on_the_real_guard(tmp_path: Path) -> None:
    for name, make in BAD.items():
        make(tmp_path / name)
    done = guardalign("scan", "--json", *(tmp_path / name for name in BAD))
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == len(BAD)
    assert all(line.startswith("error: ") for line in lines)


def test_demo(tmp_path: Path) -> None:
    done = guardalign("demo", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("unguarded", "prefix", "guarded"):
        assert word in done.stdout
    overlays = sorted(tmp_path.glob("*-overlay.png"))
    assert len(overlays) == 8
    asked = guardalign("ask", "--json", "--no-guard", tmp_path / "01-dog-car-tree.png", ASKED)
    reply = json.loads(asked.stdout)
    assert reply["verdicts"] == []
    assert reply["calibration"]["prefix"] is False
