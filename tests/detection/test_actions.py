"""What a category's action does to an image, from the anchors to the cleaned picture."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guardalign_middleware.detection.anchors import AnchorBank
from guardalign_middleware.detection.conformal import fit_threshold
from guardalign_middleware.detection.detector import Detector
from guardalign_middleware.detection.image_distances import smallest_distances
from guardalign_middleware.detection.profile import CategoryThreshold
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.sanitize import sanitize
from guardalign_middleware.testing import FakeEncoder
from guardalign_middleware.types import Action
from tests.support.colours import COLOUR_BANK, scene

RED, YELLOW = (255, 0, 0), (255, 255, 0)
BOTH = scene(320, 200, {(10, 10, 60, 60): RED, (240, 130, 290, 180): YELLOW})
ONLY_FIRE = scene(320, 200, {(10, 10, 60, 60): RED})
CLOSE = scene(200, 160, {(60, 60, 100, 100): RED, (100, 60, 140, 100): YELLOW})


def acting(detector: Detector, **actions: Action) -> Detector:
    bank = AnchorBank(COLOUR_BANK.categories, COLOUR_BANK.neutral, actions)
    profile = replace(fit_threshold([0.5] * 100, binding=detector.meters[0].binding), threshold=0.4)
    return Detector.from_parts(FakeEncoder(), bank, detector.config, profile)


def test_block_blocks_the_image_and_flag_only_reports(detector: Detector) -> None:
    blocking = acting(detector, fire="block")
    assert blocking.scan(BOTH).decision == "block"
    cleaned = sanitize(BOTH, blocking.scan(BOTH), blocking.scan)
    assert cleaned.image is None
    reporting = acting(detector, fire="flag", toxic="flag")
    verdict = reporting.scan(BOTH)
    assert verdict.decision == "allow"
    assert {region.category for region in verdict.regions} == {"fire", "toxic"}
    assert {r["action"] for r in verdict.to_json()["regions"]} == {"flag"}
    assert sanitize(BOTH, verdict, reporting.scan).image is BOTH


def test_what_is_only_reported_stays_visible_beside_what_is_masked(detector: Detector) -> None:
    mixed = acting(detector, toxic="flag")
    verdict = mixed.scan(BOTH)
    assert verdict.decision == "mask"
    cleaned = sanitize(BOTH, verdict, mixed.scan)
    assert cleaned.image is not None
    assert tuple(cleaned.image.pixels[35, 35]) == (127, 127, 127)
    assert tuple(cleaned.image.pixels[155, 265]) == YELLOW
    assert all("action" not in r or r["category"] == "toxic" for r in verdict.to_json()["regions"])


@pytest.mark.parametrize("reported", ["fire", "toxic"])
def test_a_reported_thing_does_not_shield_its_neighbour(detector: Detector, reported: str) -> None:
    mixed = acting(detector, **{reported: "flag"})
    verdict = mixed.scan(CLOSE)
    hidden, x = ("toxic", 120) if reported == "fire" else ("fire", 80)
    boxes = [r.box for r in verdict.regions if r.action == "mask"]
    assert any(x0 <= x < x1 and y0 <= 80 < y1 for x0, y0, x1, y1 in boxes), hidden


def test_each_category_has_its_own_threshold(detector: Detector) -> None:
    (fire,) = detector.distances(ONLY_FIRE)
    assert smallest_distances(fire.evidence)["native"]["fire"] == fire.distance
    profile = fit_threshold([0.5] * 100, binding=detector.meters[0].binding)
    strict, lenient = CategoryThreshold(0.4, 0.0), CategoryThreshold(fire.distance / 2, 0.0)
    own = Detector(
        detector.meters,
        detector.config,
        replace(profile, threshold=0.4, by_category={"fire": lenient, "toxic": strict}),
    )
    verdict = own.scan(BOTH)
    assert {region.category for region in verdict.regions} == {"toxic"}
    assert (verdict.category, verdict.threshold) == ("toxic", 0.4)
    assert verdict.distance <= verdict.threshold
    allowed = own.scan(ONLY_FIRE)
    assert (allowed.decision, allowed.regions) == ("allow", ())
    assert allowed.distance > allowed.threshold
    with pytest.raises(ConfigError, match="categories .* differ"):
        Detector(
            detector.meters,
            detector.config,
            replace(profile, by_category={"fire": strict}),
        )
