"""Pictures are measured once, kept, and never in two groups or in both parts of a split."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from guardalign_middleware.canonical import CanonicalImage
from guardalign_middleware.detection import Detector
from guardalign_middleware.detection import fit as detection_fit
from guardalign_middleware.errors import ConfigError, DetectionError
from guardalign_middleware.first_day import fitting
from guardalign_middleware.first_day.fitting import (
    Measured,
    check_sources_apart,
    fit,
    measure_all,
    read_distances,
)
from guardalign_middleware.first_day.picture_sets import Picture, Side, open_set
from guardalign_middleware.testing import png, red_config, red_detector

CONFIG = red_config()
DETECTOR = Detector(red_detector().meters, CONFIG.detection)


def written(folder: Path, count: int, *, seed: int) -> list[Picture]:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        pixels = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8).repeat(24, 0).repeat(24, 1)
        (folder / f"{number}.png").write_bytes(png(CanonicalImage(pixels)))
    return pictures(folder)


def pictures(folder: Path) -> list[Picture]:
    return list(open_set(str(folder), "safe", CONFIG.intake).pictures)


def quietly(items: Sequence[Picture], name: str) -> Iterable[Picture]:
    return items


def measured(some: Sequence[Picture], side: Side, kept: Path | None = None) -> list[Measured]:
    found, problems = measure_all(DETECTOR, CONFIG, some, side, 0, quietly, kept=kept)
    assert not problems
    return found


class TestMeasuring:
    def test_what_is_kept_is_not_measured_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        some, kept = written(tmp_path / "safe", 3, seed=0), tmp_path / "distances.jsonl"
        first = measured(some[:2], "safe", kept)
        with kept.open("a") as file:
            file.write('{"binding": "half a li')
        calls: list[str] = []

        def counted(detector: Detector, image: CanonicalImage, *, view_seed: str) -> object:
            calls.append(image.source)
            return detection_fit.measure(detector, image, view_seed=view_seed)

        monkeypatch.setattr(fitting, "measure", counted)
        again = measured(some, "safe", kept)
        assert again[:2] == first
        assert len(calls) == 1
        binding = json.loads(kept.read_text().splitlines()[0])["binding"]
        assert len(read_distances(kept, binding)) == 3

    def test_a_fault_is_a_problem_of_its_picture(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        some = written(tmp_path / "safe", 2, seed=0)
        os.unlink(some[1].name)

        def fail(*_: object, **__: object) -> None:
            raise DetectionError("NaN", stage="detection")

        monkeypatch.setattr(fitting, "measure", fail)
        found, problems = measure_all(DETECTOR, CONFIG, some, "safe", 0, quietly)
        assert not found
        assert [Path(one.split(":")[0]).name for one in problems] == ["0.png", "1.png"]

    def test_distances_that_cannot_be_written_are_no_problem_of_a_picture(
        self, tmp_path: Path
    ) -> None:
        some = written(tmp_path / "safe", 1, seed=0)
        with pytest.raises(ConfigError, match=r"Cannot write .*absent"):
            measured(some, "safe", tmp_path / "absent" / "distances.jsonl")


class TestGroups:
    def test_a_folder_within_another_is_found_before_anything_is_read(self, tmp_path: Path) -> None:
        written(tmp_path / "photos", 2, seed=0)
        written(tmp_path / "photos" / "unsafe", 1, seed=1)
        os.symlink(tmp_path / "photos", tmp_path / "link")
        groups = {
            "safe": pictures(tmp_path / "photos"),
            "unsafe": pictures(tmp_path / "link" / "unsafe"),
        }
        with pytest.raises(ConfigError, match=r"unsafe/0\.png") as caught:
            check_sources_apart(groups)
        assert "one folder should not lie in another" in caught.value.remedy
        check_sources_apart({"safe": groups["safe"][:2], "unsafe": groups["unsafe"]})

    def test_a_copy_under_another_name_is_found_by_what_is_seen(self, tmp_path: Path) -> None:
        safe = written(tmp_path / "safe", 9, seed=0)
        unsafe = written(tmp_path / "unsafe", 2, seed=1)
        for number in range(5):
            (tmp_path / "unsafe" / f"copy{number}.png").write_bytes(
                Path(safe[number].name).read_bytes()
            )
        sides = {
            "safe": measured(safe, "safe"),
            "unsafe": measured(pictures(tmp_path / "unsafe"), "unsafe"),
        }
        with pytest.raises(ConfigError) as caught:
            fit(DETECTOR, sides, 0.2, None, held_out=0.3, seed=0)
        assert "copy0.png (unsafe) equals " in caught.value.message
        assert "; and 2 more." in caught.value.message
        sides["unsafe"] = measured(unsafe, "unsafe")
        fit(DETECTOR, sides, 0.2, None, held_out=0.3, seed=0)

    def test_categories_are_groups_too(self, tmp_path: Path) -> None:
        safe = measured(written(tmp_path / "safe", 9, seed=0), "safe")
        armed = measured(written(tmp_path / "armed", 3, seed=1), "unsafe")
        groups = {"safe": safe, "weapon": armed, "drug": armed[:1]}
        with pytest.raises(ConfigError, match=r"0\.png \(weapon and drug\)"):
            fit(DETECTOR, groups, 0.2, None, held_out=0.3, seed=0, per_category=True)


def test_each_group_is_split_and_the_rest_counted(tmp_path: Path) -> None:
    sides = {
        "safe": measured(written(tmp_path / "safe", 10, seed=0), "safe"),
        "unsafe": measured(written(tmp_path / "unsafe", 5, seed=1), "unsafe"),
    }
    fitted = fit(DETECTOR, sides, 0.2, None, held_out=0.4, seed=3)
    found = fitted.profile.fit
    assert (found.safe_images, found.unsafe_images) == (6, 3)
    assert found.held_out_safe is not None
    assert found.held_out_unsafe is not None
    assert (found.held_out_safe[1], found.held_out_unsafe[1]) == (4, 2)
    for images, count in zip(sides.values(), (4, 2), strict=True):
        assert sum(one.sha256 in fitted.held_out for one in images) == count
    other = fit(DETECTOR, sides, 0.2, None, held_out=0.4, seed=4)
    assert other.held_out != fitted.held_out
