"""Thresholds from images without labels: the bound on all, and on safe ones under an assumption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guardalign_middleware.config import DetectionConfig
from guardalign_middleware.detection import Detector, ThresholdProfile
from guardalign_middleware.detection.fit import ImageDistances
from guardalign_middleware.detection.traffic import fit_traffic
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.testing import red_config, red_detector

BARE = Detector(red_detector().meters, red_config().detection)


def images(distances: Any) -> list[ImageDistances]:
    return [({"native": {"weapon": float(value)}},) for value in distances]


def test_the_threshold_lies_just_below_a_rank_among_all_images() -> None:
    profile = fit_traffic(BARE, images(range(1, 100)), 0.2, 0.125)
    # floor(0.125 (1 - 0.2) (99 + 1)) = 10
    assert 9.0 < profile.threshold < 10.0
    traffic = profile.fit.traffic
    assert traffic is not None
    assert traffic.max_flagged == pytest.approx(0.1)
    assert (traffic.images, traffic.unsafe_share) == (99, 0.2)
    assert traffic.flagged == pytest.approx(9 / 99)
    assert (profile.fit.safe_images, profile.fit.max_false_alarm) == (0, 0.125)
    assert "at most 20.00% of such images are unsafe" in " ".join(profile.guarantee.split())
    assert "No promise on misses" in profile.guarantee


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1])
@pytest.mark.parametrize("apart", [0.0, 0.5, 1.0])
def test_safe_images_are_flagged_as_rarely_as_promised(share: float, apart: float) -> None:
    """Safe distances are uniform on 0 to 1, so the chance of a false alarm is the threshold."""
    rng = np.random.default_rng(round(100 * share + 10 * apart))
    alarms = []
    for _ in range(60):
        safe = rng.uniform(size=199)
        unsafe = rng.uniform(size=199) - apart
        mixed = np.where(rng.uniform(size=199) < share, unsafe, safe)
        profile = fit_traffic(BARE, images(mixed), 0.1, 0.1)
        alarms.append(float(np.clip(profile.threshold, 0.0, 1.0)))
    assert float(np.mean(alarms)) <= 0.1


def test_a_smaller_assumed_share_flags_no_less() -> None:
    found = [fit_traffic(BARE, images(range(200)), share, 0.1).threshold for share in (0.0, 0.3)]
    assert found[0] > found[1]


def test_by_category_and_written_to_a_file(tmp_path: Path) -> None:
    profile = fit_traffic(BARE, images(range(1, 100)), 0.1, 0.1, per_category=True)
    assert set(profile.by_category) == {"weapon"}
    profile.save(tmp_path / "profile.json")
    again = ThresholdProfile.load(tmp_path / "profile.json")
    assert again == profile
    assert again.fingerprint == profile.fingerprint
    assert Detector(BARE.meters, DetectionConfig.model_validate(BARE.config), again)


def test_a_profile_of_labelled_images_has_no_field_for_traffic() -> None:
    known = red_detector().profile
    assert known is not None
    assert "traffic" not in known.to_json()["calibrated_on"]


@pytest.mark.parametrize(
    ("count", "share", "alarm", "message"),
    [
        (99, 1.0, 0.1, "unsafe_share should be"),
        (99, -0.1, 0.1, "unsafe_share should be"),
        (99, 0.1, 1.0, "max_false_alarm should be"),
        (10, 0.0, 0.05, "To flag at most 5.00% of all images"),
        (0, 0.0, 0.05, "To flag at most"),
    ],
)
def test_what_cannot_be_promised_is_refused(
    count: int, share: float, alarm: float, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        fit_traffic(BARE, images(range(count)), share, alarm)
