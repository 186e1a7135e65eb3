"""A picture that comes again gets the same result without a scan, as if it had been scanned."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guardalign_middleware import GuardAlignConfig, ImageGuard
from guardalign_middleware.config import AuditConfig, DefenceConfig, SanitizeConfig
from guardalign_middleware.mini.demo import demo_scenes
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.testing import all_red, picture, png, red_config, red_detector, red_guard
from guardalign_middleware.types import CanonicalImage, Verdict
from tests.support.audit_logs import write_key
from tests.support.gated import GatedEncoder

pytestmark = pytest.mark.slow

THREADS = 8
PICTURES = [
    picture(),
    picture(red=True),
    all_red(),
    picture(red=True, side=96),
    picture(red=True, colour=(0, 255, 0)),
    picture(side=80),
]
CONFIGS: dict[str, dict[str, Any]] = {
    "mask": {},
    "blur": {"sanitize": SanitizeConfig(method="blur", margin=0.0)},
    "block": {"sanitize": SanitizeConfig(method="block")},
    "grows": {"sanitize": SanitizeConfig(margin=0.0, max_masked_fraction=1.0)},
}


def detecting(config: GuardAlignConfig, **changes: Any) -> GuardAlignConfig:
    return config.model_copy(update={"detection": config.detection.model_copy(update=changes)})


def shifting(config: GuardAlignConfig) -> GuardAlignConfig:
    return detecting(config, defence=DefenceConfig(views=("as_is", "shifted")))


def content(result: Verdict | SanitizedImage) -> dict[str, Any]:
    """All of a result, with the bytes of its arrays: equal only when bit for bit equal."""
    verdict = result if isinstance(result, Verdict) else result.verdict
    fields = {**vars(verdict), **vars(verdict.evidence)}
    del fields["evidence"]
    if isinstance(result, SanitizedImage):
        shown = None if result.image is None else result.image.pixels
        fields |= {**vars(result), "verdict": None, "original": result.original.sha256}
        fields |= {"image": shown, "same": result.image is result.original}
        del fields["encoder"]  # a method of the guard that was asked
        fields["passed"] = None if result.passed is None else content(result.passed)
    return {
        name: (value.dtype, value.shape, value.tobytes())
        if isinstance(value, np.ndarray)
        else value
        for name, value in fields.items()
    }


def asked_of(guard: ImageGuard, images: list[CanonicalImage]) -> list[dict[str, Any]]:
    return [content(ask(image)) for image in images for ask in (guard.scan, guard.sanitize)]


@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_remembered_result_equals_a_fresh_one_bit_for_bit(name: str, random: bool) -> None:
    config = red_config(**CONFIGS[name])
    if random:
        config = shifting(config)
    detector = red_detector(config)
    remembering = ImageGuard(config, detector)
    forgetful = ImageGuard(
        detecting(config, remembered_verdicts=0),
        red_detector(detecting(config, remembered_verdicts=0)),
    )
    forgetful.detector._secret = detector._secret  # the random views follow from it
    fresh = asked_of(forgetful, PICTURES)
    assert asked_of(remembering, PICTURES) == fresh
    encoder = remembering.detector.meters[0].encoder = GatedEncoder()
    assert asked_of(remembering, PICTURES) == fresh
    assert encoder.scanned == []


def test_so_it_is_with_the_shipped_encoder() -> None:
    config = GuardAlignConfig.load("mini")
    (scene,) = (one.scene for one in demo_scenes() if one.name == "pistol-apple")
    images = [CanonicalImage(scene.pixels)]
    remembering = ImageGuard.from_config(config)
    first, second = asked_of(remembering, images), asked_of(remembering, images)
    assert first == second
    assert first == asked_of(
        ImageGuard.from_config(detecting(config, remembered_verdicts=0)), images
    )


def test_an_explicit_seed_has_its_own_result() -> None:
    guard = red_guard(shifting(red_config()))
    image = picture(red=True)
    own = content(guard.sanitize(image))
    chosen = content(guard.sanitize(image, view_seed="0" * 32))
    assert chosen["view_seed"] == "0" * 32 != own["view_seed"]
    encoder = guard.detector.meters[0].encoder = GatedEncoder()
    assert content(guard.sanitize(image)) == own
    assert content(guard.sanitize(image, view_seed="0" * 32)) == chosen
    assert encoder.scanned == []


def test_a_guard_over_the_output_of_another_scans_nothing() -> None:
    first = red_guard()
    second = ImageGuard(first.config, first.detector)
    outputs = [first.sanitize(image).image for image in PICTURES]
    encoder = first.detector.meters[0].encoder = GatedEncoder()
    for output in filter(None, outputs):
        again = second.sanitize(png(output))
        assert again.image is again.original
        assert again.original.sha256 == output.sha256
    assert encoder.scanned == []


def test_guards_that_clean_otherwise_share_verdicts_only() -> None:
    config = red_config()
    detector = red_detector(config)
    masking = ImageGuard(config, detector)
    blocking = ImageGuard(red_config(sanitize=SanitizeConfig(method="block")), detector)
    image = picture(red=True)
    assert masking.sanitize(image).verdict.decision == "mask"
    assert blocking.sanitize(image).verdict.decision == "block"
    assert masking.sanitize(image).verdict.decision == "mask"


@pytest.mark.parametrize("remembered", [0, 2, 1024])
def test_threads_get_what_one_would(remembered: int) -> None:
    config = detecting(red_config(), remembered_verdicts=remembered)
    alone = {image.sha256: asked_of(red_guard(config), [image]) for image in PICTURES}
    guard = red_guard(config)
    start = threading.Barrier(THREADS)

    def work(seed: int) -> None:
        start.wait(300)
        for index in np.random.default_rng(seed).integers(0, len(PICTURES), 20):
            image = PICTURES[index]
            assert asked_of(guard, [image]) == alone[image.sha256]
        cleaned = guard.sanitize_many(PICTURES)
        assert [content(item) for item in cleaned] == [alone[p.sha256][1] for p in PICTURES]

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))


def test_the_audit_log_has_every_call_and_the_same_lines(tmp_path: Path) -> None:
    key_file = write_key(tmp_path)

    def lines(remembered: int) -> list[dict[str, Any]]:
        log = tmp_path / f"{remembered}.log"
        audit = AuditConfig(log=log, key_file=key_file, include_source=True)
        guard = red_guard(detecting(red_config(audit=audit), remembered_verdicts=remembered))
        asked_of(guard, PICTURES * 2)
        guard.sanitize_many(PICTURES * 2)
        guard.scan_many(PICTURES * 2)
        volatile = {"time", "mac", "previous"}
        return [
            {name: value for name, value in json.loads(line).items() if name not in volatile}
            for line in log.read_text().splitlines()
        ]

    assert lines(0) == lines(1024)
    assert len(lines(2)) == 8 * len(PICTURES)


def test_it_is_on_and_bounded_in_number_and_bytes() -> None:
    config = detecting(red_config(), remembered_verdicts=1000, remembered_bytes=50_000)
    guard = red_guard(config)
    images = [picture(red=True, side=64 + index) for index in range(12)]
    for image in images:
        size = guard.scan(image).nbytes
        guard.sanitize(image)
        for cache in (guard.detector._verdicts, guard._cleanings):
            assert cache._bytes <= 50_000
            assert 0 < len(cache) <= 50_000 // size + 2
    evidence = guard.scan(images[0]).evidence
    arrays = evidence.patch_boxes.nbytes + evidence.patch_distances.nbytes
    assert guard.scan(images[0]).nbytes > arrays + 8 * len(evidence.patch_categories)
    default = red_config().detection
    assert (default.remembered_verdicts, default.remembered_bytes) == (1024, 64 * 2**20)


def test_what_callers_share_cannot_be_changed_by_one_of_them() -> None:
    evidence = red_guard().scan(picture()).evidence
    for array in (evidence.patch_boxes, evidence.patch_distances):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_a_profile_is_not_bound_to_what_is_remembered() -> None:
    config = red_config()
    other = detecting(config, remembered_verdicts=0, remembered_bytes=0)
    first, second = red_detector(config), red_detector(other)
    assert first.meters[0].binding == second.meters[0].binding
    assert first.profile is not None
    assert second.profile is not None
    assert first.profile.fingerprint == second.profile.fingerprint
