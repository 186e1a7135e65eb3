"""Sliders move every threshold by one factor, and nothing else of a profile stays promised."""

import math
from dataclasses import replace

import pytest

from guardalign_middleware.config import CalibrationConfig, RunnerConfig, SanitizeConfig
from guardalign_middleware.detection import ThresholdFit, ThresholdProfile
from guardalign_middleware.detection.profile import CategoryThreshold, FormThreshold
from guardalign_middleware.playground.settings import EXPONENTS, Settings, moved
from guardalign_middleware.testing.guards import red_config

PROFILE = ThresholdProfile(
    0.2,
    "At most 5% of safe images.",
    ThresholdFit(0.05, 100, 0.04, max_miss=0.1, held_out_safe=(1, 30)),
    {"encoder": "e"},
    by_category={"weapon": CategoryThreshold(0.2, 0.04, max_false_alarm=0.05)},
    by_form={"native": FormThreshold(0.2, {"weapon": 0.2})},
)


def test_every_threshold_moves_by_the_factor() -> None:
    changed = moved(replace(PROFILE, second=PROFILE), 10.0)
    for each in changed.members:
        assert each.threshold == each.by_category["weapon"].threshold == 2.0
        assert each.threshold_of("weapon", "native") == each.by_form["native"].threshold == 2.0


def test_what_was_promised_for_the_old_thresholds_is_not_said_of_new_ones() -> None:
    changed = moved(PROFILE, 1.5)
    assert changed.guarantee.startswith("None")
    assert (changed.fit.max_false_alarm, changed.fit.max_miss) == (None, None)
    assert changed.fit.held_out_safe is None
    assert changed.by_category["weapon"].max_false_alarm is None
    assert changed.fingerprint != PROFILE.fingerprint


def test_sliders_start_at_the_presets_own_values() -> None:
    runner = RunnerConfig(model="echo", calibration=CalibrationConfig(gamma=0.7))
    config = red_config(runner=runner, sanitize=SanitizeConfig(margin=0.3))
    own = Settings.of(config, calibrated=True)
    assert (own.factor, own.margin, own.gamma) == (1.0, 0.3, 0.7)
    assert own.profile(PROFILE) is PROFILE
    assert own.sanitize(config.sanitize) is config.sanitize
    assert Settings.of(config, calibrated=False).gamma is None


def test_the_margin_is_the_only_thing_of_cleaning_that_moves() -> None:
    config = SanitizeConfig(fill=(1, 2, 3))
    assert Settings(0.0, 0.5, None).sanitize(config) == config.model_copy(update={"margin": 0.5})


@pytest.mark.parametrize(
    "position",
    [(math.nan, 0.1, 0.0), (EXPONENTS[1] + 0.1, 0.1, 0.0), (0.0, 1.1, 0.0), (0.0, 0.1, math.inf)],
)
def test_positions_that_no_slider_has_are_refused(position: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="should be from"):
        Settings(*position)
