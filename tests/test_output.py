"""A guard lets through what a guard like it has let out, and never refuses its own output."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from guardalign_middleware.canonical import CanonicalImage
from guardalign_middleware.config import (
    IntakePolicy,
    OutputConfig,
    SanitizeConfig,
)
from guardalign_middleware.detection import Detector
from guardalign_middleware.encode import Encoded
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.output import PASSED, load_as_scanned
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.testing import picture, png, red_config, red_detector, red_guard
from guardalign_middleware.testing.photos import file_of, photo
from tests.support.gated import GatedEncoder


@pytest.fixture(autouse=True)
def _nothing_passed() -> Iterator[None]:
    PASSED.forget()
    yield
    PASSED.forget()


def counting(guard: ImageGuard) -> GatedEncoder:
    encoder = guard.detector.meters[0].encoder = GatedEncoder()
    encoder.let_pass(10**6)
    return encoder


def cleaned_file(guard: ImageGuard, file: bytes) -> Encoded:
    item = guard.sanitize(file)
    assert item.image is not None
    return guard.encode(item.image, item.passed)


JPEG = file_of(photo(160, 120), "JPEG", quality=85)
FILES = {
    "jpeg": JPEG,
    "png": png(picture()),
    "masked": png(picture(red=True)),
    "webp": file_of(photo(160, 120), "WEBP", quality=70),
}


@pytest.mark.parametrize("name", FILES)
def test_a_second_guard_neither_scans_nor_encodes_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = cleaned_file(red_guard(), FILES[name])
    second = red_guard()
    encoder = counting(second)
    monkeypatch.setattr("guardalign_middleware.output.encode", None)
    item = second.sanitize(encoded.data)
    assert item.verdict.decision == "allow"
    assert item.image is item.original
    again = second.encode(item.image, item.passed)
    assert (again.data, again.mime_type) == (encoded.data, encoded.mime_type)
    assert second.scan(encoded.data).decision == "allow"
    assert encoder.scanned == []


def test_the_remembered_verdict_is_that_of_the_scanned_pixels() -> None:
    guard = red_guard()
    item = guard.sanitize(JPEG)
    encoded = guard.encode(item.image, item.passed)
    again = red_guard().sanitize(encoded.data)
    assert again.verdict == item.verdict
    assert again.verdict.sha256 == item.original.sha256
    assert again.residual_distance == item.verdict.distance


@pytest.mark.parametrize(
    "changes",
    [
        {"sanitize": SanitizeConfig(margin=0.5)},
        {"output": OutputConfig(max_bytes=4_000_000)},
        {"on_fault": "allow"},
        {"intake": IntakePolicy(background=(0, 0, 0))},
    ],
)
def test_another_guard_scans(changes: dict[str, Any]) -> None:
    encoded = cleaned_file(red_guard(), JPEG)
    other = red_guard(red_config(**changes))
    encoder = counting(other)
    assert other.sanitize(encoded.data).verdict.decision == "allow"
    assert encoder.scanned != []


def test_other_actions_make_another_guard() -> None:
    encoded = cleaned_file(red_guard(), JPEG)
    config = red_config()
    detector = red_detector(config)
    bank = detector.meters[0].anchors
    object.__setattr__(bank, "actions", {"weapon": "block"})
    other = ImageGuard(config, Detector(detector.meters, config.detection, detector.profile))
    encoder = counting(other)
    other.sanitize(encoded.data)
    assert encoder.scanned != []


def test_the_name_of_a_guard_makes_no_other() -> None:
    encoded = cleaned_file(red_guard(), JPEG)
    other = red_guard(red_config(name="other", runner=None, blocked_reply="No."))
    encoder = counting(other)
    other.sanitize(encoded.data)
    assert encoder.scanned == []


def test_an_unsafe_file_never_passes_as_let_out() -> None:
    guard = red_guard()
    image = guard.load(png(picture(red=True)))
    verdict = guard.scan(image)
    assert verdict.flagged
    shown = guard.encode(image, verdict)
    assert red_guard().sanitize(shown.data).verdict.decision == "mask"
    # A verdict on other pixels lets nothing out either.
    safe = guard.scan(picture())
    red_guard().encode(image, safe)
    assert red_guard().sanitize(shown.data).verdict.decision == "mask"


def test_an_unscanned_file_is_scanned_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = red_guard(red_config(on_fault="allow"))
    monkeypatch.setattr(guard.detector.meters[0].encoder, "encode_images", None)
    item = guard.sanitize(JPEG)
    assert item.verdict.fault is not None
    assert item.passed is None
    encoded = guard.encode(item.image, item.verdict)
    other = red_guard(red_config(on_fault="allow"))
    encoder = counting(other)
    other.sanitize(encoded.data)
    assert encoder.scanned != []


def test_without_remembered_verdicts_everything_is_scanned() -> None:
    detection = red_config().detection.model_copy(update={"remembered_verdicts": 0})
    config = red_config(detection=detection)
    encoded = cleaned_file(red_guard(config), JPEG)
    other = red_guard(config)
    encoder = counting(other)
    other.sanitize(encoded.data)
    assert encoder.scanned != []


@pytest.mark.parametrize("red", [False, True])
@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF"])
def test_a_policy_without_png_takes_what_its_own_guard_lets_out(kind: str, red: bool) -> None:
    intake = IntakePolicy(formats=("JPEG", "GIF", "BMP", "TIFF"))
    detection = red_config().detection.model_copy(update={"remembered_verdicts": 0})
    config = red_config(intake=intake, detection=detection)
    file = file_of(picture(side=200, red=red).to_pil(), kind)
    encoded = cleaned_file(red_guard(config), file)
    assert encoded.mime_type == "image/jpeg"
    again = red_guard(config).sanitize(encoded.data)
    assert again.verdict.decision == "allow"
    assert again.original.encoding.image_format == "JPEG"


def test_an_explicit_seed_asks_for_a_new_scan() -> None:
    encoded = cleaned_file(red_guard(), JPEG)
    other = red_guard()
    encoder = counting(other)
    other.sanitize(encoded.data, view_seed="0" * 32)
    other.scan(encoded.data, view_seed="0" * 32)
    assert encoder.scanned != []


def test_what_is_scanned_is_what_leaves() -> None:
    guard = red_guard(red_config(output=OutputConfig(max_side=64)))
    item = guard.sanitize(png(picture(side=200, red=True)))
    assert (item.original.width, item.original.height) == (64, 64)
    assert item.verdict.scaled_from == (200, 200)
    assert item.verdict.to_json()["resized"] == {
        "width": 64,
        "height": 64,
        "from_width": 200,
        "from_height": 200,
    }
    assert guard.scan(png(picture(side=200))).to_json()["resized"]["from_width"] == 200
    encoded = guard.encode(item.original)
    assert encoded.resized
    assert (encoded.width, encoded.height) == (64, 64)
    again = red_guard(guard.config).sanitize(encoded.data)
    assert again.verdict.scaled_from is None
    assert "resized" not in again.verdict.to_json()


@pytest.mark.parametrize("side", [48, 200])
def test_a_picture_is_read_as_a_guard_scans_it(side: int) -> None:
    guard = red_guard(red_config(output=OutputConfig(max_side=64)))
    file = png(picture(side=side, red=True))
    read = load_as_scanned(file, guard.config.intake, guard.config.output)
    assert read.sha256 == guard.load(file).sha256 == guard.scan(file).sha256
    assert read.width == min(side, 64)


def test_each_of_two_equal_pictures_keeps_its_own_form() -> None:
    guard = red_guard()
    pixels = np.asarray(photo(96, 64))
    files = [
        file_of(photo(96, 64), "WEBP", lossless=True),
        file_of(photo(96, 64), "PNG"),
    ]
    items = guard.sanitize_many(files)
    assert [guard.encode(item.image).mime_type for item in items] == ["image/webp", "image/png"]
    assert all(item.image is item.original for item in items)
    assert all((item.image.pixels == pixels).all() for item in items)
    red = picture(red=True)
    masked = guard.sanitize_many([file_of(red.to_pil(), "WEBP", lossless=True), png(red)])
    assert [guard.encode(item.image).mime_type for item in masked] == ["image/webp", "image/png"]


@pytest.mark.parametrize("limit", [{"max_bytes": 20_000}, {"max_pixels": 20_000}])
def test_a_guard_never_refuses_its_own_output(limit: dict[str, int]) -> None:
    for shape in ((130, 150), (400, 4)):
        noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
        config = red_config(
            intake=IntakePolicy(**limit),
            output=OutputConfig(max_bytes=20_000, max_side=140),
        )
        guard = red_guard(config)
        item = guard.sanitize(CanonicalImage(noise))
        shown = item.image or item.original
        encoded = guard.encode(shown, item.passed)
        PASSED.forget()
        red_guard(config).load(encoded.data)


def test_equal_pictures_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = red_guard()
    first = guard.encode(guard.load(JPEG))
    monkeypatch.setattr("guardalign_middleware.output.encode", None)
    assert guard.encode(guard.load(JPEG)) is first


def test_original_keeps_the_bytes_of_allowed_pictures_only() -> None:
    guard = red_guard(red_config(output=OutputConfig(original=True)))
    assert cleaned_file(guard, JPEG).data == JPEG
    # Equal pixels in another file are another file.
    other = JPEG + b"trailing"
    assert cleaned_file(guard, other).data == other
    unsafe = png(picture(red=True))
    masked = cleaned_file(guard, unsafe)
    assert masked.data != unsafe
    assert red_guard().sanitize(masked.data).verdict.decision == "allow"


def test_remembered_masks_keep_their_verdict() -> None:
    guard = red_guard()
    first = guard.sanitize(png(picture(red=True)))
    second = guard.sanitize(png(picture(red=True)))
    assert isinstance(second, SanitizedImage)
    assert first.passed is not None
    assert second.passed == first.passed
    assert second.passed.sha256 == second.image.sha256


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_knows_nothing() -> None:
    encoded = cleaned_file(red_guard(), JPEG)
    with PASSED._verdicts._lock:
        child = os.fork()
        if child == 0:
            try:
                guard = red_guard()
                encoder = counting(guard)
                guard.sanitize(encoded.data)
                os._exit(0 if encoder.scanned else 3)
            finally:
                os._exit(4)
    assert os.waitpid(child, 0)[1] == 0
