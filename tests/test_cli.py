"""The command as users run it: exit statuses, JSON, and one clear line for bad input."""

import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from guardalign_middleware.cli import app
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.mini.demo import demo_scenes
from guardalign_middleware.mini.questions import draw_question_scene, draw_things
from guardalign_middleware.mini.world import TRAINING_BACKGROUNDS
from guardalign_middleware.types import CanonicalImage


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one harmless and one unsafe scene of the demo."""
    folder = tmp_path_factory.mktemp("pictures")
    for scene in demo_scenes():
        if scene.name in {"hammer", "bomb"}:
            CanonicalImage(scene.scene.pixels).to_pil().save(folder / f"{scene.name}.png")
    return folder


def thin_png() -> bytes:
    """A 1x20000 PNG of a few dozen bytes."""
    header = struct.pack(">IIBBBBB", 1, 20_000, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0\0" * 20_000, 9)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    )


def huge_tiff() -> bytes:
    """A TIFF header that claims 60,000 pixels squared."""
    entries = [(256, 4, 60_000), (257, 4, 60_000), (258, 3, 8), (259, 3, 1), (262, 3, 1)]
    entries += [(273, 4, 8), (277, 3, 1), (278, 4, 60_000), (279, 4, 16)]
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<I", 24) + bytes(16) + struct.pack("<H", 9) + table + bytes(4)


def half_jpeg() -> bytes:
    file = io.BytesIO()
    CanonicalImage(demo_scenes()[0].scene.pixels).to_pil().save(file, "JPEG")
    return file.getvalue()[: len(file.getvalue()) // 2]


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.png": (lambda: b"", "empty"),
    "text.png": (lambda: b"this is no picture", "not an image"),
    "half.jpg": (half_jpeg, "half.jpg"),
    "thin.png": (thin_png, "20000"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(BAD[name][0]())
    for command in (("scan", file), ("ask", file, "What is in the picture?")):
        result = run(*command)
        assert result.exit_code == 2
        assert name in result.stderr
        assert "Traceback" not in result.stderr + result.stdout


@pytest.fixture
def odd(tmp_path: Path) -> list[Path]:
    """Entries of a file system, and files, that are not a single picture."""
    os.mkfifo(tmp_path / "pipe.png")
    os.symlink("loop.png", tmp_path / "loop.png")
    os.symlink("gone.png", tmp_path / "dangling.png")
    (tmp_path / "huge.tiff").write_bytes(huge_tiff())
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "party.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "empty").mkdir()
    return [*tmp_path.iterdir(), tmp_path / "missing.png", tmp_path / ("x" * 300)]


def test_each_odd_thing_is_one_line_and_no_json(odd: list[Path]) -> None:
    result = run("scan", "--json", *odd)
    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert len(lines) == len(odd) == 8
    assert all(line.startswith("error: ") for line in lines)
    for path in odd[:-1]:
        assert sum(path.name in line for line in lines) == 1
    for path in odd:
        asked = run("ask", "--json", path, "What is it?")
        assert (asked.exit_code, asked.stdout) == (2, "")
        assert len(asked.stderr.splitlines()) == 1


def test_a_name_that_is_not_utf8_is_accepted(pictures: Path, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    path.write_bytes((pictures / "hammer.png").read_bytes())
    result = run("scan", "--json", path, "--overlay", tmp_path / "seen")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["source"] == str(path)
    assert len(list((tmp_path / "seen").iterdir())) == 1
    assert "caf\\udce9.png" in run("scan", path).stdout


def test_missing_paths_and_folders_to_ask_about_are_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.png", tmp_path):
        result = run("ask", path, "What is it?")
        assert result.exit_code == 2
        assert "Traceback" not in result.stderr
    assert run("scan", tmp_path / "nothing.png").exit_code == 2


def test_a_model_directory_without_weights_is_an_error(pictures: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    preset = tmp_path / "mine.yaml"
    config = GuardAlignConfig.load("mini").model_dump(mode="json")
    config["runner"] |= {"model": str(model)}
    preset.write_text(json.dumps(config))
    result = run("ask", pictures / "hammer.png", "What is it?", "--preset", preset, "--no-guard")
    assert result.exit_code == 3
    assert "error:" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_preset_names_the_known_ones(pictures: Path) -> None:
    result = run("scan", pictures, "--preset", "nonsense")
    assert result.exit_code == 3
    assert "mini" in result.stderr


def test_scan_prints_one_object_per_line_and_exits_by_the_verdicts(
    pictures: Path, tmp_path: Path
) -> None:
    result = run("scan", "--json", pictures, "--overlay", tmp_path / "seen")
    assert result.exit_code == 1
    rows = {Path(row["source"]).stem: row for row in map(json.loads, result.stdout.splitlines())}
    assert set(rows) == {"bomb", "hammer"}
    assert set(rows["bomb"]) == {
        "source",
        "decision",
        "distance",
        "threshold",
        "category",
        "regions",
        "profile",
        "sha256",
        "seconds",
    }
    assert rows["hammer"]["decision"] == "allow"
    assert rows["bomb"]["decision"] == "mask"
    assert rows["bomb"]["category"] == "explosive"
    x0, y0, x1, y1 = rows["bomb"]["regions"][0]["box"]
    assert 0 <= x0 < x1 <= 256
    assert 0 <= y0 < y1 <= 256
    assert len(list((tmp_path / "seen").iterdir())) == 2
    assert run("scan", pictures / "hammer.png").exit_code == 0


def test_one_bad_file_does_not_hide_the_others(pictures: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no")
    result = run("scan", "--json", bad, pictures / "hammer.png")
    assert result.exit_code == 2
    assert [json.loads(line)["decision"] for line in result.stdout.splitlines()] == ["allow"]


@pytest.mark.slow
def test_ask_answers_in_words_in_json_and_in_pieces(pictures: Path) -> None:
    question = "What is in the picture?"
    plain = run("ask", pictures / "hammer.png", question)
    assert plain.exit_code == 0
    assert plain.stdout.strip()
    record = json.loads(run("ask", pictures / "hammer.png", question, "--json").stdout)
    assert record["answer"] == plain.stdout.strip()
    assert set(record) >= {"answer", "verdicts", "calibration", "usage"}
    streamed = run("ask", pictures / "hammer.png", question, "--stream")
    assert streamed.stdout.strip() == plain.stdout.strip()
    bare = json.loads(run("ask", pictures / "bomb.png", question, "--json", "--no-guard").stdout)
    assert bare["verdicts"] == []
    asked = run("ask", pictures / "bomb.png", question, "--json", "--mode", "observe")
    (verdict,) = json.loads(asked.stdout)["verdicts"]
    assert (verdict["decision"], verdict["would_be"] != "allow") == ("observe", True)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `safe` and `unsafe` with 30 small scenes each."""
    folder = tmp_path_factory.mktemp("labelled")
    for name, unsafe in (("safe", 0), ("unsafe", 1)):
        (folder / name).mkdir()
        for seed in range(30):
            rng = np.random.default_rng((5, unsafe, seed))
            things = draw_things(rng, unsafe=unsafe, safe=1)
            scene = draw_question_scene(rng, things, TRAINING_BACKGROUNDS)
            CanonicalImage(scene.pixels).to_pil().save(folder / name / f"{seed}.png")
    return folder


@pytest.mark.evidence
def test_calibrate_writes_a_profile_that_the_guard_then_uses(
    labelled: Path, pictures: Path, tmp_path: Path
) -> None:
    profile = tmp_path / "profile.json"
    rates = ("--max-false-alarm", 0.2, "--max-miss", 0.2)
    folders = ("--safe", labelled / "safe", "--unsafe", labelled / "unsafe")
    result = run("calibrate", *folders, *rates, "--out", profile)
    assert result.exit_code == 0, result.stderr
    assert "safe images flagged" in result.stdout
    assert json.loads(profile.read_text())["by_form"].keys() == {"native", "squashed"}
    record = json.loads(profile.read_text())["calibrated_on"]
    assert (record["safe_images"], record["unsafe_images"]) == (21, 21)
    assert record["held_out_safe"][1] == record["held_out_unsafe"][1] == 9
    preset = tmp_path / "mine.yaml"
    config = GuardAlignConfig.load("mini").model_dump(mode="json")
    config["detection"] |= {"profile": str(profile)}
    preset.write_text(json.dumps(config))
    assert run("scan", pictures / "bomb.png", "--preset", preset).exit_code == 1
    config["detection"]["transport"]["epsilon"] = 0.5
    preset.write_text(json.dumps(config))
    refused = run("scan", pictures / "bomb.png", "--preset", preset)
    assert refused.exit_code == 3
    assert "different transport" in refused.stderr


def test_calibrate_writes_nothing_when_it_cannot_promise(labelled: Path, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    few = run("calibrate", "--safe", labelled / "safe" / "1.png", "--out", profile)
    assert few.exit_code == 3
    assert "over 2 forms. Use at least 55 safe images (16 of them are held out)" in few.stderr
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "bad.png").write_bytes(b"no")
    enough = ("--max-false-alarm", 0.9)
    bad = run("calibrate", "--safe", tmp_path / "bad", *enough, "--out", profile)
    assert bad.exit_code == 2
    assert "bad.png" in bad.stderr
    assert not profile.exists()
