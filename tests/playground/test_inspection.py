"""A slider decides again as the detector itself would, without encoding anything."""

from typing import Any

import numpy as np
import pytest

from guardalign_middleware.detection import Detector
from guardalign_middleware.errors import BudgetExceeded, ConfigError, ImageRejected
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.playground.inspection import Inspector, probe
from guardalign_middleware.playground.settings import Settings
from guardalign_middleware.testing import counting_guard, picture, png, red_guard
from guardalign_middleware.testing.guards import red_config
from guardalign_middleware.types import Verdict

PIXELS = 10**6


def red_picture() -> Any:
    return picture(red=True)


def numbers(verdict: Verdict) -> dict[str, Any]:
    return {**verdict.to_json(), "rows": [array.tolist() for array in verdict.evidence.arrays]}


@pytest.mark.parametrize("exponent", [-3.5, -0.5, 0.0, 0.4, 1.5])
def test_the_verdict_is_that_of_a_detector_with_such_a_profile(exponent: float) -> None:
    guard = red_guard()
    inspector, image = Inspector(guard, PIXELS), red_picture()
    settings = Settings(exponent, 0.15, None)
    own = guard.detector
    assert own.profile is not None
    other = Detector(own.meters, own.config, settings.profile(own.profile))
    found = inspector.verdict(inspector.measure(image), settings)
    assert numbers(found) == numbers(other.scan(image))


def test_only_measuring_and_cleaning_encode() -> None:
    guard, encoder = counting_guard()
    inspector, image = Inspector(guard, PIXELS), red_picture()
    inspection = inspector.measure(image)
    measured = encoder.batches
    assert measured
    for exponent in (-2.0, 0.0, 1.0):
        settings = Settings(exponent, 0.3, None)
        verdict = inspector.verdict(inspection, settings)
        inspector.masks(verdict, settings)
    assert encoder.batches == measured
    own = Settings(0.0, 0.0, None)
    inspector.clean(inspection, inspector.verdict(inspection, own), own)
    assert encoder.batches > measured


def test_at_the_presets_own_settings_it_cleans_as_the_guard_does() -> None:
    guard = red_guard()
    inspector, image = Inspector(guard, PIXELS), red_picture()
    own = Settings.of(guard.config, calibrated=False)
    inspection = inspector.measure(image)
    cleaned = inspector.clean(inspection, inspector.verdict(inspection, own), own)
    expected = guard.sanitize(image)
    assert cleaned.verdict.to_json() == expected.verdict.to_json()
    assert cleaned.image is not None
    assert expected.image is not None
    assert np.array_equal(cleaned.image.pixels, expected.image.pixels)


def test_masks_follow_the_margin_and_are_none_where_all_is_allowed() -> None:
    guard = red_guard()
    inspector = Inspector(guard, PIXELS)
    inspection = inspector.measure(red_picture())
    narrow, wide = (Settings(0.0, margin, None) for margin in (0.0, 0.5))
    verdict = inspector.verdict(inspection, narrow)
    assert inspector.masks(verdict, narrow) == tuple(each.box for each in verdict.regions)
    assert inspector.masks(verdict, wide) != inspector.masks(verdict, narrow)
    safe = inspector.measure(picture())
    assert inspector.masks(inspector.verdict(safe, narrow), narrow) == ()


def test_the_limits_are_those_of_the_preset_and_of_a_request() -> None:
    guard = red_guard()
    data = png(red_picture())
    assert Inspector(guard, PIXELS).load(data).sha256 == red_picture().sha256
    with pytest.raises(BudgetExceeded):
        Inspector(guard, 10).load(data)
    with pytest.raises(ImageRejected):
        Inspector(guard, PIXELS).load(b"no picture")


def test_a_guard_without_thresholds_is_refused() -> None:
    own = red_guard().detector
    config = red_config()
    with pytest.raises(ConfigError, match="threshold profile"):
        Inspector(ImageGuard(config, Detector(own.meters, own.config)), PIXELS)


def test_a_point_tells_the_nearest_patch_over_it() -> None:
    guard = red_guard()
    inspector, image = Inspector(guard, PIXELS), red_picture()
    verdict = inspector.verdict(inspector.measure(image), Settings(0.0, 0.0, None))
    x0, y0, x1, y1 = verdict.regions[0].box
    here = probe(verdict, (x0 + x1) / 2 / image.width, (y0 + y1) / 2 / image.height)
    assert here is not None
    assert here.distance <= here.threshold
    assert here.box[0] <= (x0 + x1) / 2 <= here.box[2]
    assert probe(verdict, 1.5, 0.5) is None
