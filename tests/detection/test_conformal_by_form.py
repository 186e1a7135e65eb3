"""A threshold for each form of a picture: profiles, their files, and which guards take them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from guardalign_middleware.config import FormConfig
from guardalign_middleware.detection import (
    Detector,
    FormThreshold,
    ThresholdProfile,
    fit_by_category,
    fit_by_form,
    fit_pair,
    fit_profile,
    fit_threshold,
)
from guardalign_middleware.detection.fit import measure
from guardalign_middleware.detection.image_distances import FormDistances
from guardalign_middleware.detection.order_statistics import highest_thresholds
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.testing import FakeEncoder
from tests.support.colours import COLOUR_BANK, scene

PARTS = {"encoder": "e", "anchors": "a", "patches": "p", "transport": "t"}
BINDING = {**PARTS, "form:squashed": "s", "form:native": "n"}
SCALE = {"native": 0.1, "squashed": 1.0}
NAMES = ("weapon", "drug")


def images(rng: np.random.Generator, count: int, factor: float = 1.0) -> list[FormDistances]:
    """Distances in two forms, which agree in part, to two categories."""
    common, own = rng.random((count, 1, 2)), rng.random((count, 2, 2))
    rows = factor * (common + 0.3 * own) * np.array(list(SCALE.values()))[:, None]
    return [
        {form: dict(zip(NAMES, row, strict=True)) for form, row in zip(SCALE, image, strict=True)}
        for image in rows.tolist()
    ]


SAFE = images(np.random.default_rng(0), 399)
UNSAFE = images(np.random.default_rng(1), 40, 0.05)


def test_each_form_has_its_own_threshold_and_a_file_keeps_them(tmp_path: Path) -> None:
    profile = fit_by_form(SAFE, UNSAFE, 0.05, binding=BINDING)
    nearest = [[min(image[form].values()) for form in SCALE] for image in SAFE]
    expected = highest_thresholds(np.array(nearest), 0.05).tolist()
    assert [profile.by_form[form].threshold for form in SCALE] == expected
    assert profile.threshold == max(expected) == profile.threshold_of("drug", "squashed")
    assert profile.threshold_of("drug", "native") == expected[0] < 0.3 * expected[1]
    assert "flagged in any of 2 forms" in profile.guarantee
    assert 0.03 <= profile.fit.false_alarm <= 0.05
    assert profile.fit.detected == 1.0
    just = {form: {"drug": profile.threshold_of("drug", form)} for form in SCALE}
    above = {form: {"drug": math.nextafter(just[form]["drug"], 1.0)} for form in SCALE}
    assert profile.flags({**above, "native": just["native"]})
    assert profile.flags({**above, "squashed": just["squashed"]})
    assert not profile.flags(above)
    profile.save(tmp_path / "profile.json")
    record = json.loads((tmp_path / "profile.json").read_text())
    assert record["version"] == 2
    assert record["by_form"] == {form: {"threshold": just[form]["drug"]} for form in SCALE}
    again = ThresholdProfile.load(tmp_path / "profile.json")
    assert again == profile
    assert again.fingerprint == profile.fingerprint
    wider = {**profile.by_form, "native": FormThreshold(0.5)}
    assert replace(profile, by_form=wider).fingerprint != profile.fingerprint


def test_one_form_is_fitted_as_if_there_were_none() -> None:
    safe, unsafe = ([{"native": image["native"]} for image in group] for group in (SAFE, UNSAFE))
    flat = [[min(image["native"].values()) for image in group] for group in (safe, unsafe)]
    for rates in ({"max_false_alarm": 0.05}, {"max_false_alarm": None, "max_miss": 0.1}):
        profile = fit_by_form(safe, unsafe, binding=BINDING, **rates)
        assert profile == fit_threshold(*flat, binding=BINDING, **rates)
        assert not profile.by_form
        assert profile.threshold_of("drug", "any form") == profile.threshold


def test_categories_share_the_bound_and_their_forms_a_curve(tmp_path: Path) -> None:
    groups = {"weapon": UNSAFE[:20], "drug": UNSAFE[20:]}
    profile = fit_by_category(SAFE, groups, NAMES, 0.1, max_miss=0.2, binding=BINDING)
    for name in NAMES:
        table = np.array([[image[form][name] for form in SCALE] for image in SAFE])
        found = [profile.threshold_of(name, form) for form in SCALE]
        assert found == highest_thresholds(table, 0.05).tolist()
        assert profile.by_category[name].threshold == max(found)
        assert profile.by_category[name].missed == 0.0
    for form in SCALE:
        own = profile.by_form[form]
        assert own.threshold == max(own.by_category.values())
    assert "in any of 2 forms by any of the 2 categories" in profile.guarantee
    profile.save(tmp_path / "profile.json")
    assert ThresholdProfile.load(tmp_path / "profile.json") == profile
    with pytest.raises(ConfigError, match="same categories"):
        replace(profile, by_form={"native": FormThreshold(0.5)})


def test_the_pair_keeps_the_forms_of_both() -> None:
    safe, unsafe = ([(image, image) for image in group] for group in (SAFE, UNSAFE))

    def fit_one(number: int, alarm: float | None, miss: float | None) -> ThresholdProfile:
        own = [[image[number] for image in group] for group in (safe, unsafe)]
        return fit_by_form(*own, alarm, max_miss=miss, binding=BINDING)

    both = fit_pair(fit_one, safe, unsafe, 0.1, max_miss=0.1)
    assert both.by_form == fit_one(0, 0.05, None).by_form
    assert both.second is not None
    assert both.second.by_form == both.by_form
    assert both.fit.false_alarm <= 0.05  # they agree entirely here
    assert both.fit.detected == 1.0


def test_a_guard_may_look_at_fewer_forms_and_at_no_others() -> None:
    profile = fit_by_form(SAFE, UNSAFE, 0.05, binding=BINDING)
    profile.check_binding(BINDING)
    profile.check_binding({**PARTS, "form:native": "n"})
    with pytest.raises(ConfigError, match="without the form model.*guardalign calibrate"):
        profile.check_binding({**BINDING, "form:model": "m"})
    with pytest.raises(ConfigError, match="different encoder, form native"):
        profile.check_binding({**BINDING, "encoder": "x", "form:native": "m"})
    with pytest.raises(ConfigError, match="different views"):
        profile.check_binding({**BINDING, "views": "v"})
    own = replace(profile, by_form={"native": profile.by_form["native"]})
    with pytest.raises(ConfigError, match="without the form squashed"):
        own.check_binding(BINDING)
    with pytest.raises(ConfigError, match="without the form squashed"):
        own.threshold_of("drug", "squashed")
    # One threshold for all forms, as test doubles have it.
    replace(profile, by_form={}).check_binding(BINDING)


def test_fewer_forms_miss_more() -> None:
    profile = fit_by_form(SAFE, UNSAFE, 0.05, max_miss=0.1, binding=BINDING)
    profile.check_binding(BINDING)
    with pytest.raises(ConfigError, match="bounds misses only together with the form squashed"):
        profile.check_binding({**PARTS, "form:native": "n"})


def test_what_cannot_be_fitted() -> None:
    with pytest.raises(ConfigError, match=r"38 safe images .* over 2 forms\. Use at least 39"):
        fit_by_form(SAFE[:38], [], 0.05, binding=BINDING)
    for wrong in (math.nan, math.inf):
        with pytest.raises(ConfigError, match="finite"):
            fit_by_form([*SAFE, {"native": {"drug": wrong}}], [], 0.05, binding=BINDING)
    with pytest.raises(ConfigError, match="finite"):
        fit_by_form([*SAFE, {}], [], 0.05, binding=BINDING)
    with pytest.raises(ConfigError, match="No safe image was measured in the form model"):
        fit_by_form(SAFE, [{"model": {"drug": 0.1}}], 0.05, binding=BINDING)
    with pytest.raises(ConfigError, match="need safe images"):
        fit_by_form([], UNSAFE, None, max_miss=0.1, binding=BINDING)


@pytest.mark.parametrize(
    "forms",
    [{"native": 0.4}, {"native": {}}, {"native": {"threshold": float("nan")}}, [0.4]],
)
def test_a_damaged_form_is_refused(tmp_path: Path, forms: object) -> None:
    file = tmp_path / "profile.json"
    fit_by_form(SAFE, UNSAFE, 0.05, binding=BINDING).save(file)
    file.write_text(json.dumps({**json.loads(file.read_text()), "by_form": forms}))
    with pytest.raises(ConfigError):
        ThresholdProfile.load(file)


def test_an_older_profile_names_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    fit_by_form(SAFE, UNSAFE, 0.05, binding=BINDING).save(file)
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": 1}))
    with pytest.raises(ConfigError, match="version 2.*guardalign calibrate"):
        ThresholdProfile.load(file)


def test_a_detector_is_fitted_and_decides_form_by_form(detector: Detector) -> None:
    sees = (FormConfig(kind="squashed", side=64), FormConfig(kind="native"))
    config = detector.config.model_copy(update={"sees": sees})
    both = Detector.from_parts(FakeEncoder(), COLOUR_BANK, config)
    rng = np.random.default_rng(2)
    places = rng.integers(0, 60, (20, 2)).tolist()
    safe = [measure(both, scene(128, 96, {(x, y, x + 30, y + 30): (90, 90, 0)})) for x, y in places]
    assert all(image[0].keys() == {"squashed", "native"} for image in safe)
    profile = fit_profile(both, safe, {}, 0.15)
    assert profile.by_form.keys() == {"squashed", "native"}
    guard = Detector(both.meters, config, profile)
    red = scene(128, 96, {(10, 10, 80, 80): (255, 0, 0)})
    verdict = guard.scan(red)
    assert verdict.flagged
    limits = {profile.threshold_of(verdict.category, form) for form in profile.by_form}
    assert verdict.threshold in limits
    # Only the form whose threshold allows it decides.
    for form in profile.by_form:
        never = {name: FormThreshold(-1.0) for name in profile.by_form}
        own = replace(profile, threshold=2.0, by_form={**never, form: FormThreshold(2.0)})
        patches = Detector(both.meters, config, own).scan(red)
        assert patches.threshold == 2.0
        assert patches.flagged
    # A guard with one of the forms takes the same profile.
    fewer = config.model_copy(update={"sees": sees[1:]})
    alone = Detector.from_parts(FakeEncoder(), COLOUR_BANK, fewer, profile)
    assert alone.scan(red).threshold == profile.by_form["native"].threshold
    more = config.model_copy(update={"sees": (*sees[1:], FormConfig(kind="squashed", side=32))})
    with pytest.raises(ConfigError, match="different form squashed"):
        Detector.from_parts(FakeEncoder(), COLOUR_BANK, more, profile)
