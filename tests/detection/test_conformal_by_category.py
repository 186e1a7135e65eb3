from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from guardalign_middleware.detection.conformal import fit_by_category
from guardalign_middleware.detection.image_distances import FormDistances
from guardalign_middleware.detection.order_statistics import highest_thresholds
from guardalign_middleware.detection.profile import ThresholdProfile
from guardalign_middleware.errors import ConfigError

BINDING = {"encoder": "e", "anchors": "a", "patches": "p", "transport": "t"}
NAMES = ("weapon", "drug", "gore", "fraud", "hate")


def safe_images(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Distances `[count, 5]`: a common part makes the categories depend on each other."""
    return 0.3 * rng.random((count, 1)) + 0.7 * rng.random((count, len(NAMES)))


def image(**nearest: float) -> FormDistances:
    return {"native": nearest}


def as_images(rows: NDArray[np.float64]) -> list[FormDistances]:
    return [image(**dict(zip(NAMES, row, strict=True))) for row in rows.tolist()]


@pytest.mark.slow
def test_the_promise_for_the_image_holds_over_redraws_and_unsplit_thresholds_break_it() -> None:
    rng = np.random.default_rng(0)
    fresh = safe_images(rng, 20_000)
    together, alone, unsplit = [], [], []
    for _ in range(1000):
        calibration = safe_images(rng, 99)
        profile = fit_by_category(as_images(calibration), {}, NAMES, 0.05, binding=BINDING)
        flagged = fresh <= [profile.threshold_of(name, "native") for name in NAMES]
        together.append(flagged.any(axis=1).mean())
        alone.append(flagged.mean(axis=0))
        naive = [highest_thresholds(column[:, None], 0.05)[0] for column in calibration.T]
        unsplit.append((fresh <= naive).any(axis=1).mean())
    margin = 3 * np.std(together) / math.sqrt(1000)
    assert 0.03 <= np.mean(together) <= 0.05 + margin
    assert (np.mean(alone, axis=0) <= 0.01 + 3 * np.std(alone, axis=0) / math.sqrt(1000)).all()
    assert np.mean(unsplit) > 3 * 0.05


def test_misses_are_promised_category_by_category_over_redraws() -> None:
    rng = np.random.default_rng(1)
    missed: dict[str, list[float]] = {"weapon": [], "drug": []}
    for _ in range(1000):
        unsafe = {
            name: [image(**{name: value}) for value in rng.random(39).tolist()] for name in missed
        }
        profile = fit_by_category(
            [],
            unsafe,
            tuple(missed),
            None,
            max_miss=0.1,
            binding=BINDING,
        )
        for name, rates in missed.items():
            rates.append(1.0 - profile.threshold_of(name, "native"))
    for rates in missed.values():
        assert np.mean(rates) == pytest.approx(0.1, abs=3 * np.std(rates) / math.sqrt(1000))


def test_reports_what_each_category_does_and_survives_a_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    unsafe = {"weapon": [image(weapon=0.001, drug=0.9)] * 3 + [image(drug=0.0005)]}
    profile = fit_by_category(
        as_images(safe_images(rng, 199)), unsafe, NAMES, 0.05, binding=BINDING
    )
    weapon = profile.by_category["weapon"]
    assert weapon.max_false_alarm == pytest.approx(0.01)
    assert (weapon.unsafe_images, weapon.missed) == (4, 0.25)
    assert profile.by_category["gore"].missed is None
    assert profile.fit.detected == 1.0
    assert profile.fit.false_alarm <= 0.05
    assert profile.threshold == max(one.threshold for one in profile.by_category.values())
    assert "any of the 5 categories" in profile.guarantee
    assert "1.00%" in profile.guarantee
    profile.save(tmp_path / "profile.json")
    again = ThresholdProfile.load(tmp_path / "profile.json")
    assert again == profile
    assert again.fingerprint == profile.fingerprint
    assert profile.flags(image(weapon=weapon.threshold))
    assert not profile.flags(image(weapon=float(np.nextafter(weapon.threshold, 1.0))))


def test_a_category_that_no_safe_image_comes_near_gets_a_finite_threshold() -> None:
    safe = [image(weapon=0.5 + i / 1000) for i in range(100)]
    profile = fit_by_category(safe, {}, ("weapon", "drug"), 0.05, binding=BINDING)
    assert profile.threshold_of("drug", "native") == pytest.approx(0.599)
    assert profile.threshold_of("weapon", "native") < 0.503


def test_what_cannot_be_promised_names_the_category() -> None:
    safe = as_images(safe_images(np.random.default_rng(3), 98))
    with pytest.raises(ConfigError, match="weapon: 98 safe images .* at least 99"):
        fit_by_category(safe, {}, NAMES, 0.05, binding=BINDING)
    unsafe = {name: [image(**{name: 0.001})] * 19 for name in NAMES}
    with pytest.raises(ConfigError, match="drug: 0 unsafe images"):
        fit_by_category(
            safe, {"weapon": unsafe["weapon"]}, NAMES, None, max_miss=0.05, binding=BINDING
        )
    far = {**unsafe, "gore": [image(gore=2.0)] * 19}
    with pytest.raises(ConfigError, match="gore: No threshold keeps both .* flag 100.0%"):
        fit_by_category(safe, far, NAMES, 0.2, max_miss=0.05, binding=BINDING)
    elsewhere = {**unsafe, "hate": [image(gore=0.1)] * 19}
    with pytest.raises(ConfigError, match="hate: .*no patch"):
        fit_by_category(safe, elsewhere, NAMES, None, max_miss=0.05, binding=BINDING)
    with pytest.raises(ConfigError, match="no category 'knives'"):
        fit_by_category(safe, {"knives": []}, NAMES, 0.2, binding=BINDING)
    with pytest.raises(ConfigError, match="other categories"):
        fit_by_category(safe, {}, NAMES[:2], 0.2, binding=BINDING)
    with pytest.raises(ConfigError, match="finite"):
        fit_by_category([image(weapon=math.nan)], {}, NAMES, 0.2, binding=BINDING)
    with pytest.raises(ConfigError, match="At least one"):
        fit_by_category(safe, {}, NAMES, None, binding=BINDING)
