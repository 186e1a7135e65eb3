"""`guardalign calibrate`: what cannot become a profile is refused before pictures are measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from guardalign_middleware.canonical import CanonicalImage
from guardalign_middleware.cli import app, calibrate
from guardalign_middleware.detection import Detector, ThresholdProfile
from guardalign_middleware.first_day import fitting
from guardalign_middleware.testing import png, red_config, red_detector

BARE = Detector(red_detector().meters, red_config().detection)


@pytest.fixture(autouse=True)
def detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "load_unfitted", lambda config: BARE)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*_: object, **__: object) -> None:
        raise AssertionError("a picture is measured")

    monkeypatch.setattr(fitting, "measure", measured)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, count in (("safe", 20), ("unsafe/weapon", 5), ("misspelt/wepon", 5)):
        (tmp_path / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8).repeat(24, 0).repeat(24, 1)
            (tmp_path / name / f"{number}.png").write_bytes(png(CanonicalImage(pixels)))
    return tmp_path


def run(photos: Path, *options: str) -> Result:
    out = ["--out", str(photos / "out" / "profile.json")]
    return CliRunner().invoke(app, ["calibrate", *out, *options])


def test_both_sides_are_measured_split_and_written(photos: Path) -> None:
    sides = ("--safe", f"{photos}/safe", "--unsafe", f"{photos}/unsafe")
    done = run(photos, *sides, "--max-false-alarm", "0.1", "--per-category", "--json")
    assert done.exit_code == 0, done.output
    fit = json.loads(done.stdout)["calibrated_on"]
    assert (fit["safe_images"], fit["unsafe_images"]) == (14, 3)
    assert (fit["held_out_safe"][1], fit["held_out_unsafe"][1]) == (6, 2)
    assert ThresholdProfile.load(photos / "out" / "profile.json").by_category.keys() == {"weapon"}
    # The mini preset looks at two forms, for which 19 pictures have to set the threshold.
    assert "20 safe images may not be enough to promise at most 0.1" in done.stderr


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--safe", "DIR", "--unsafe", "DIR/unsafe"], r"The same picture is in two groups"),
        (["--safe", "DIR/safe", "--max-false-alarm", "0.01"], "14 safe images cannot guarantee"),
        (["--safe", "DIR/safe", "--max-false-alarm", "2"], "should be in (0, 1)"),
        (
            ["--safe", "DIR/safe", "--unsafe", "DIR/unsafe", "--per-category", "--max-miss", "0.1"],
            "weapon: 3 unsafe images cannot guarantee 0.1 misses",
        ),
        (
            ["--safe", "DIR/safe", "--unsafe", "DIR/misspelt", "--per-category"],
            "There is no category 'wepon'",
        ),
    ],
)
def test_what_cannot_be_fitted_is_not_measured(
    photos: Path, options: list[str], message: str
) -> None:
    done = run(photos, *(option.replace("DIR", str(photos)) for option in options))
    assert done.exit_code == 3, done.output
    assert message in done.stderr
    assert not (photos / "out" / "profile.json").exists()
