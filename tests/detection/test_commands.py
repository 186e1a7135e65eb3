"""`guardalign concepts check` and `guardalign calibrate --per-category` as a person uses them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from guardalign_middleware.cli import app
from guardalign_middleware.detection import ThresholdProfile
from guardalign_middleware.types import CanonicalImage

CLASHING = """\
categories:
  weapon: [pistol, gun]
  drug:
    action: block
    anchors:
      - syringe
      - a pistol
neutral:
  dog: [dog]
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`safe` with 16 noisy pictures, `unsafe/weapon` with 4 of them."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name, count in (("safe", 16), ("unsafe/weapon", 4)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            picture = CanonicalImage(coarse).to_pil().resize((80, 72))
            picture.save(folder / name / f"{number}.png")
    return folder


def test_check_prints_similarities_and_names_the_lines_that_clash(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(CLASHING)
    result = run("concepts", "check", file, "--matrix", tmp_path / "matrix.csv")
    assert result.exit_code == 1, result.output
    assert "block" in result.stdout
    assert "'pistol' (weapon, line 2) and 'a pistol' (drug, line 7)" in result.stdout
    rows = list(csv.reader((tmp_path / "matrix.csv").read_text().splitlines()))
    assert rows[0] == ["concept", "word", "pistol", "gun", "syringe", "a pistol", "dog"]
    assert float(rows[1][2]) == pytest.approx(1.0, abs=1e-3)
    facts = json.loads(run("concepts", "check", file, "--json").stdout)
    assert facts["categories"] == {"weapon": "mask", "drug": "block"}
    assert facts["warnings"][0]["second_line"] == 7
    assert np.array(facts["similarity"]).shape == (2, 2)
    file.write_text(CLASHING.replace("      - a pistol\n", ""))
    calm = run("concepts", "check", file)
    assert calm.exit_code == 0
    assert "0 warnings" in calm.stdout


def test_check_says_what_is_wrong_and_where(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("categories:\n  weapon:\n    action: melt\n    anchors: [gun]\n")
    wrong = run("concepts", "check", file)
    assert wrong.exit_code == 3
    assert "mine.yaml:3:" in wrong.stderr
    file.write_text("categories: {weapon: [trebuchet]}")
    unknown = run("concepts", "check", file)
    assert unknown.exit_code == 3
    assert "trebuchet" in unknown.stderr
    assert run("concepts", "check", file, "--overlap", 1.5).exit_code == 3


@pytest.mark.evidence
def test_fit_by_category(images: Path, tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    folders = ("--safe", images / "safe", "--unsafe", images / "unsafe")
    rates = ("--per-category", "--max-false-alarm", 0.9, "--out", file)
    result = run("calibrate", *folders, *rates)
    assert result.exit_code == 0, result.output
    assert "by category and form" in result.stdout
    assert "native" in result.stdout
    profile = ThresholdProfile.load(file)
    printed = json.loads(run("calibrate", *folders, *rates, "--json").stdout)
    assert printed == {"file": str(file), **json.loads(file.read_text())}
    assert profile.by_form["native"].by_category.keys() == profile.by_category.keys()
    assert set(profile.by_category) == {"weapon", "explosive", "drug", "death", "alcohol"}
    assert profile.by_category["weapon"].max_false_alarm == pytest.approx(0.18)
    assert profile.by_category["weapon"].unsafe_images == 3
    assert profile.fit.held_out_safe is not None
    assert profile.fit.held_out_safe[1] == 5
    file.unlink()
    few = run("calibrate", *folders, "--per-category", "--max-false-alarm", 0.05, "--out", file)
    assert few.exit_code == 3
    assert "weapon: 11 safe images" in few.stderr
    assert "at least 284" in few.stderr
    loose = run("calibrate", "--safe", images / "safe", "--unsafe", images / "safe", *rates)
    assert loose.exit_code == 3
    assert "one folder of images for each category" in loose.stderr
    assert not file.exists()
