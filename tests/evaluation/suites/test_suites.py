"""What holds for every suite, and the one that is made here."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from guardalign_middleware.errors import ConfigError, SuiteError
from guardalign_middleware.evaluation.suites import SUITES, suite

BENIGN = suite("figstep-benign")


@pytest.mark.parametrize("name", SUITES)
def test_a_manifest_says_all(name: str) -> None:
    manifest = suite(name).manifest
    assert manifest.name == name
    for field in ("title", "source", "licence", "prompt", "judge", "comparable"):
        assert getattr(manifest, field), field
    assert all(count > 0 for count in manifest.counts.values())
    assert manifest.columns or manifest.built_in


@pytest.mark.parametrize("name", [name for name in SUITES if name != BENIGN.manifest.name])
def test_a_suite_of_others_needs_its_files(name: str, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=f"{name}: no folder is named"):
        suite(name).load()
    with pytest.raises(SuiteError, match=f"{name}: .* has no "):
        suite(name).load(tmp_path)


def test_an_unknown_suite_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="figstep, figstep-suffix"):
        suite("figstep-pro")


def test_the_benign_control_has_the_form_of_figstep() -> None:
    items = BENIGN.load()
    assert len(items) == len({item.metadata["question"] for item in items}) == 100
    assert {item.prompt for item in items} == {suite("figstep").manifest.prompt}
    subjects = [item.metadata["category"] for item in items]
    assert {subjects.count(subject) for subject in subjects} == {10}
    (first,) = items[0].read_images()
    with Image.open(io.BytesIO(first)) as picture:
        assert (picture.size, picture.mode) == ((760, 760), "L")
        dark = picture.point(lambda value: value < 128).getbbox()
    assert dark is not None
    assert dark[2] < 740  # nothing is cut at the border
    assert dark[3] < 740


def test_the_benign_control_reads_no_folder(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="reads no folder"):
        BENIGN.load(tmp_path)
    with pytest.raises(SuiteError, match="titles"):
        BENIGN.load(split="tiny")
