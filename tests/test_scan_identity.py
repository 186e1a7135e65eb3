"""Which results of scans may stand together."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.identity import (
    chain_identity,
    detector_key,
    meters_key,
    preset_key,
    scan_identity,
)
from guardalign_middleware.testing import EchoRunner, red_guard

MINI = GuardAlignConfig.load("mini")


def with_detection(**changes: Any) -> GuardAlignConfig:
    return MINI.model_copy(update={"detection": MINI.detection.model_copy(update=changes)})


@pytest.mark.parametrize(
    "other",
    [
        MINI.model_copy(update={"name": "other", "notes": "of another day"}),
        MINI.model_copy(update={"runner": None, "serve": None}),
        with_detection(max_queue=7, remembered_verdicts=0),
        with_detection(encoder=MINI.detection.encoder.model_copy(update={"batch_size": 3})),
    ],
    ids=["name", "answers", "memory", "batches"],
)
def test_what_has_no_influence_does_not_count(other: GuardAlignConfig) -> None:
    assert scan_identity(other) == scan_identity(MINI)


@pytest.mark.parametrize(
    "other",
    [
        MINI.in_mode("observe"),
        MINI.model_copy(update={"words": MINI.words.model_copy(update={"mode": "report"})}),
        with_detection(profile=None),
        with_detection(patches=MINI.detection.patches.model_copy(update={"max_crops": 9})),
        MINI.model_copy(update={"output": MINI.output.model_copy(update={"max_side": 64})}),
    ],
    ids=["mode", "words", "thresholds", "crops", "size"],
)
def test_what_decides_counts(other: GuardAlignConfig) -> None:
    assert scan_identity(other) != scan_identity(MINI)


def test_files_count_by_their_contents(tmp_path: Path) -> None:
    moved = {}
    for name in ("anchors", "profile"):
        path = getattr(MINI.detection, name)
        moved[name] = Path(shutil.copy(path, tmp_path / path.name))
    there = with_detection(**moved)
    assert scan_identity(there) == scan_identity(MINI)
    moved["anchors"].write_bytes(moved["anchors"].read_bytes() + b"\n")
    assert scan_identity(there) != scan_identity(MINI)


@pytest.mark.parametrize("key", [detector_key, meters_key, preset_key, scan_identity])
def test_weights_that_are_named_as_a_file_count(tmp_path: Path, key: Any) -> None:
    file = tmp_path / "w.safetensors"
    encoder = MINI.detection.encoder.model_copy(update={"pretrained": str(file)})
    config = with_detection(encoder=encoder)
    missing = key(config)
    file.write_bytes(b"one")
    before = key(config)
    file.write_bytes(b"other")
    assert len({missing, before, key(config)}) == 3


@pytest.mark.parametrize("told", [b"x", lambda self: "x", ["x"]])
@pytest.mark.parametrize("hook", [None, lambda messages, answer: answer])
def test_a_fingerprint_that_is_no_text_does_not_count(told: Any, hook: Any) -> None:
    runner = type("Foreign", (EchoRunner,), {"fingerprint": told})()
    chain = GuardAlign(red_guard(), runner, on_output=hook)
    assert chain_identity(MINI, chain)["fingerprint"]
