"""Random views can be repeated with their seed, and only with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from guardalign_middleware.audit import AuditLog, differences, read_entries, verify
from guardalign_middleware.audit.heads import write_head
from guardalign_middleware.audit.keys import Keys
from guardalign_middleware.audit.lines import Head
from guardalign_middleware.audit.spelling import canonical
from guardalign_middleware.config import AuditConfig, DefenceConfig, GuardAlignConfig
from guardalign_middleware.detection.view_seed import derived_seed, seed_for, seeded_number
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.testing import picture, red_config, red_detector, red_guard
from guardalign_middleware.types import CanonicalImage, Verdict
from tests.support.audit_logs import KEY, write_key


def shifting(**changes: object) -> GuardAlignConfig:
    config = red_config(**changes)
    defence = DefenceConfig(views=("shifted",))
    update = {"defence": defence, "remembered_verdicts": 0}
    detection = config.detection.model_copy(update=update)
    return config.model_copy(update={"detection": detection})


def remembering(size: int) -> GuardAlignConfig:
    config = shifting()
    detection = config.detection.model_copy(update={"remembered_verdicts": size})
    return config.model_copy(update={"detection": detection})


def pictures(count: int) -> list[CanonicalImage]:
    """Each with a red block that lies across crops otherwise."""
    images = []
    for k in range(count):
        pixels = np.full((70, 64 + k, 3), (0, 0, 255), dtype=np.uint8)
        pixels[20 : 37 + k, 21:40] = (255, 0, 0)
        images.append(CanonicalImage(pixels))
    return images


def test_a_seed_belongs_to_secret_and_picture() -> None:
    first, second = pictures(2)
    again = CanonicalImage(first.pixels.copy(), "another name")
    assert seed_for(b"secret", first) == seed_for(b"secret", again)
    others = {seed_for(b"secret", second), seed_for(b"other", first), derived_seed("0" * 32, first)}
    assert len(others | {seed_for(b"secret", first)}) == 4
    counts = np.bincount([seeded_number(f"{k:032x}", "x", 4) for k in range(1000)], minlength=5)
    assert (counts > 150).all()


def test_equal_pictures_get_equal_verdicts_and_each_detector_has_its_own_seeds() -> None:
    images = pictures(4)
    detector, other = red_detector(shifting()), red_detector(shifting())
    verdicts = detector.scan_many(images)
    assert [detector.scan(image) for image in images] == verdicts
    seeds = [verdict.evidence.view_seed for verdict in verdicts]
    assert len(set(seeds)) == 4
    assert {other.scan(image).evidence.view_seed for image in images}.isdisjoint(seeds)


def test_the_seed_repeats_the_verdict() -> None:
    for image in pictures(4):
        verdict = red_detector(shifting()).scan(image)
        other = red_detector(shifting())
        again = other.scan(image, view_seed=verdict.evidence.view_seed)
        assert again == verdict
        assert again.evidence.view_seed == verdict.evidence.view_seed
        np.testing.assert_array_equal(again.evidence.patch_boxes, verdict.evidence.patch_boxes)
        (measured,) = other.distances(image, view_seed=verdict.evidence.view_seed)
        assert measured.distance == verdict.distance


@pytest.mark.parametrize("view_seed", ["", "7", "x" * 32, "A" * 32, "0" * 33])
def test_anything_but_a_seed_is_rejected_and_lets_nothing_through(view_seed: str) -> None:
    guard = ImageGuard(config := shifting(on_fault="allow"), red_detector(config))
    for ask in (guard.scan, guard.sanitize, guard.detector.scan, guard.detector.distances):
        with pytest.raises(ValueError, match="32 hexadecimal"):
            ask(picture(), view_seed=view_seed)
    assert guard.failed_open == 0


def test_without_random_views_a_seed_changes_nothing() -> None:
    image = picture(red=True)
    verdict = red_detector().scan(image, view_seed="0" * 32)
    assert verdict == red_detector().scan(image)
    assert verdict.evidence.view_seed is None


def test_a_verdict_for_an_explicit_seed_is_cached_under_that_seed_only() -> None:
    detector = red_detector(remembering(8))
    image = pictures(1)[0]
    chosen = detector.scan(image, view_seed="0" * 32)
    own = detector.scan(image)
    assert own.evidence.view_seed != "0" * 32
    assert detector.scan(image).evidence is own.evidence
    assert detector.scan(image, view_seed="0" * 32).evidence is chosen.evidence


def test_seeds_of_masked_copies_derive_from_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def scans(guard: ImageGuard, view_seed: str | None) -> dict[str, str | None]:
        """Picture → seed, of all scans that cleaning one picture takes."""
        seen: dict[str, str | None] = {}
        scan = guard.detector.scan

        def watched(image: CanonicalImage, *, view_seed: str | None = None) -> Verdict:
            verdict = scan(image, view_seed=view_seed)
            seen[image.sha256] = verdict.evidence.view_seed
            return verdict

        monkeypatch.setattr(guard.detector, "scan", watched)
        result = guard.sanitize(image, view_seed=view_seed)
        seen[image.sha256] = result.verdict.evidence.view_seed
        return seen

    image = pictures(1)[0]
    first = scans(red_guard(shifting()), None)
    assert len(set(first.values())) == len(first) >= 2
    assert scans(red_guard(shifting()), first[image.sha256]) == first


def test_an_audit_replay_repeats_the_seeds_of_masked_copies_too(tmp_path: Path) -> None:
    log = AuditConfig(log=tmp_path / "log", key_file=write_key(tmp_path))
    images = pictures(6)
    recording = red_guard(shifting(audit=log))
    cleaned = recording.sanitize_many(images)
    recording.scan_many(images)
    assert any(result.rounds for result in cleaned)
    guard, named = red_guard(shifting()), set()
    for entry, image in zip(read_entries(tmp_path / "log", KEY), images * 2, strict=True):
        assert entry.draw is not None
        ask = guard.sanitize if entry.step == "sanitize" else guard.scan
        assert differences(entry, ask(image, view_seed=entry.draw), image, KEY) == ()
        named |= set(differences(entry, ask(image), image, KEY))
        plain = red_guard()
        changed = differences(entry, plain.scan(image), image, KEY)
        assert {"draw", "profile"} <= set(changed)  # a guard that looks otherwise says so
    assert "draw" in named


def test_lines_older_than_view_seeds_are_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    AuditLog(log, KEY).append(red_guard().scan(picture()))
    facts = json.loads(log.read_bytes())
    del facts["draw"], facts["mac"]
    facts["mac"] = Keys(KEY).of_line(facts)
    log.write_bytes(canonical(facts))
    write_head(log, Head(1, facts["mac"]), Keys(KEY), fsync=False)
    assert verify(log, KEY).intact
    (entry,) = read_entries(log, KEY)
    assert entry.draw is None
    assert differences(entry, red_guard().scan(picture()), picture(), KEY) == ()
    AuditLog(log, KEY).append(replace(red_guard().scan(picture()), source="next"))
    assert verify(log, KEY).entries == 2
