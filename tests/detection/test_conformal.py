from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.detection.conformal import fit_threshold
from guardalign_middleware.detection.profile import ThresholdProfile
from guardalign_middleware.errors import ConfigError

BINDING = {"encoder": "e", "anchors": "a", "patches": "p", "transport": "t"}


@given(st.lists(st.floats(0, 1), min_size=19, max_size=200), st.sampled_from([0.05, 0.1, 0.25]))
def test_flags_at_most_the_promised_rank(safe: list[float], alpha: float) -> None:
    profile = fit_threshold(safe, max_false_alarm=alpha, binding=BINDING)
    flagged = sum(d <= profile.threshold for d in safe)
    assert flagged < alpha * (len(safe) + 1) + 1e-6
    assert profile.fit.false_alarm == pytest.approx(flagged / len(safe))
    # It is the largest such threshold: a hair higher reaches the k-th smallest distance.
    rank = int(alpha * (len(safe) + 1) + 1e-9)
    assert np.nextafter(profile.threshold, np.inf) == sorted(safe)[rank - 1]


def test_the_guarantee_holds_on_fresh_images() -> None:
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(2000):
        profile = fit_threshold(list(rng.random(39)), max_false_alarm=0.05, binding=BINDING)
        rates.append(profile.threshold)  # the chance that a uniform distance is at most this
    assert np.mean(rates) <= 0.05 + 3 * np.std(rates) / np.sqrt(len(rates))
    assert np.mean(rates) >= 0.045


@given(st.lists(st.floats(0, 1), min_size=19, max_size=200), st.sampled_from([0.05, 0.1, 0.25]))
def test_misses_at_most_the_promised_rank(unsafe: list[float], beta: float) -> None:
    profile = fit_threshold([], unsafe, None, max_miss=beta, binding=BINDING)
    missed = sum(d > profile.threshold for d in unsafe)
    assert missed <= beta * (len(unsafe) + 1) + 1e-6
    # It is the smallest such threshold: a hair lower misses one more than may be missed.
    lower = float(np.nextafter(profile.threshold, -np.inf))
    assert sum(d > lower for d in unsafe) + 1 > beta * (len(unsafe) + 1) - 1e-6


def test_both_guarantees_hold_over_redraws() -> None:
    rng = np.random.default_rng(0)
    alarms, misses = [], []
    for _ in range(1000):
        safe, unsafe = rng.uniform(0.4, 1.0, 59), rng.uniform(0.0, 0.5, 59)  # overlap
        profile = fit_threshold(safe.tolist(), unsafe.tolist(), 0.1, max_miss=0.5, binding=BINDING)
        alarms.append(max(profile.threshold - 0.4, 0.0) / 0.6)
        misses.append(max(0.5 - profile.threshold, 0.0) / 0.5)
    assert np.mean(alarms) <= 0.1 + 3 * np.std(alarms) / np.sqrt(len(alarms))
    assert np.mean(alarms) >= 0.09
    assert np.mean(misses) <= 0.5
    only = [
        fit_threshold([], rng.random(59).tolist(), None, max_miss=0.1, binding=BINDING)
        for _ in range(1000)
    ]
    rates = [1.0 - profile.threshold for profile in only]
    assert np.mean(rates) == pytest.approx(0.1, abs=3 * np.std(rates) / np.sqrt(len(rates)))


def test_promises_that_cannot_both_be_kept_say_what_each_would_cost() -> None:
    mixed = [i / 100 for i in range(100)]
    with pytest.raises(ConfigError, match=r"miss 9\d\.0% .* flag 9\d\.0%"):
        fit_threshold(mixed, mixed, 0.05, max_miss=0.05, binding=BINDING)
    with pytest.raises(ConfigError, match=r"unsafe images cannot guarantee .*--max-miss"):
        fit_threshold(mixed, [0.1] * 5, 0.05, max_miss=0.05, binding=BINDING)
    with pytest.raises(ConfigError, match="At least one of"):
        fit_threshold(mixed, mixed, None, binding=BINDING)


def test_too_few_images_for_the_promise() -> None:
    with pytest.raises(ConfigError, match="at least 19"):
        fit_threshold([0.5] * 18, max_false_alarm=0.05, binding=BINDING)
    assert fit_threshold([0.5] * 19, max_false_alarm=0.05, binding=BINDING).threshold < 0.5


def test_nan_and_bad_rates() -> None:
    with pytest.raises(ConfigError, match="finite"):
        fit_threshold([float("nan")] * 50, binding=BINDING)
    with pytest.raises(ConfigError, match="max_false_alarm"):
        fit_threshold([0.5] * 50, max_false_alarm=0.0, binding=BINDING)


def test_round_trip_and_fingerprint(tmp_path: Path) -> None:
    profile = fit_threshold([i / 97 for i in range(97)], [0.01, 0.9], binding=BINDING)
    assert profile.fit.detected == 0.5
    held_out = replace(profile.fit, held_out_safe=(1, 40), held_out_unsafe=(3, 20))
    profile = replace(profile, fit=held_out)
    profile.save(tmp_path / "profile.json")
    again = ThresholdProfile.load(tmp_path / "profile.json")
    assert again == profile
    assert again.fingerprint == profile.fingerprint
    assert replace(profile, threshold=0.5).fingerprint != profile.fingerprint


def test_binding_mismatch_names_the_part() -> None:
    profile = fit_threshold([0.5] * 50, binding=BINDING)
    profile.check_binding(BINDING)
    with pytest.raises(ConfigError, match="different encoder, patches"):
        profile.check_binding({**BINDING, "encoder": "x", "patches": "y"})
    with pytest.raises(ConfigError, match="transport"):
        profile.check_binding({k: v for k, v in BINDING.items() if k != "transport"})


@pytest.mark.parametrize(
    "change",
    [
        {"version": 1},
        {"threshold": float("nan")},
        {"threshold": "0.4"},
        {"extra": 1},
        {"binding": None},
        {"calibrated_on": {"x": 1}},
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    file = tmp_path / "profile.json"
    fit_threshold([0.5] * 50, binding=BINDING).save(file)
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(ConfigError):
        ThresholdProfile.load(file)


@pytest.mark.parametrize("text", ["", "[]", "{", "{}"])
def test_no_profile(tmp_path: Path, text: str) -> None:
    file = tmp_path / "profile.json"
    file.write_text(text)
    with pytest.raises(ConfigError):
        ThresholdProfile.load(file)
    with pytest.raises(ConfigError, match="Cannot read"):
        ThresholdProfile.load(tmp_path / "missing.json")
