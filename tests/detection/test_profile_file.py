from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.detection.conformal import fit_threshold
from guardalign_middleware.detection.profile import ThresholdProfile
from guardalign_middleware.errors import ConfigError

BINDING = {"encoder": "e", "anchors": "a"}


def fields() -> dict[str, Any]:
    record = fit_threshold([n / 100 for n in range(1, 60)], [0.01], binding=BINDING).to_json()
    record["by_category"] = {"weapon": {"threshold": 0.1, "false_alarm": 0.0}}
    record["by_form"] = {"native": {"threshold": 0.1, "by_category": {"weapon": 0.1}}}
    return record


def parse(value: object) -> ThresholdProfile:
    return ThresholdProfile.parse(json.dumps(value).encode(), "profile.json")


def test_the_fields_are_a_profile() -> None:
    profile = parse(fields())
    assert profile.to_json() == {**fields(), "by_category": profile.to_json()["by_category"]}
    second = parse({**fields(), "second": fields()}).second
    assert second == profile


def test_a_full_disk_leaves_the_profile_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "profile.json"
    parse(fields()).save(path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("guardalign_middleware.writing.os.replace", full)
    with pytest.raises(ConfigError, match="No space left"):
        parse({**fields(), "guarantee": "another"}).save(path)
    assert ThresholdProfile.load(path) == parse(fields())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", 1),
        ("version", "2"),
        ("version", True),
        ("threshold", "0.4"),
        ("threshold", None),
        ("threshold", True),
        ("threshold", -0.5),
        ("threshold", [0.1]),
        ("guarantee", 3),
        ("binding", None),
        ("binding", ["encoder"]),
        ("binding.encoder", 3),
        ("binding.", "x"),
        ("calibrated_on", None),
        ("calibrated_on.max_false_alarm", 0.0),
        ("calibrated_on.max_false_alarm", 1.0),
        ("calibrated_on.false_alarm", -0.1),
        ("calibrated_on.detected", 1.1),
        ("calibrated_on.safe_images", -1),
        ("calibrated_on.safe_images", 10**40),
        ("calibrated_on.safe_images", 1.5),
        ("calibrated_on.unsafe_images", "10"),
        ("calibrated_on.held_out_safe", [1, -2]),
        ("calibrated_on.held_out_safe", [1, 2, 3]),
        ("calibrated_on.held_out_unsafe", "12"),
        ("calibrated_on.more", 1),
        ("by_category.weapon.threshold", "0.1"),
        ("by_category.weapon", 0.1),
        ("by_category.weapon.missed", 2),
        ("by_category", [1]),
        ("by_form.native.threshold", -1),
        ("by_form.native.by_category.weapon", "x"),
        ("by_form.native.colour", "x"),
        ("by_form", "native"),
        ("second", {}),
        ("second", 3),
        ("second", None),
        ("more", 1),
    ],
)
def test_a_wrong_field_is_named(path: str, value: object) -> None:
    record: dict[str, Any] = fields()
    *parents, name = path.split(".")
    place = record
    for parent in parents:
        place = place[parent]
    place[name] = value
    with pytest.raises(ConfigError) as caught:
        parse(record)
    assert path.rstrip(".") in str(caught.value)
    assert "calibrate" in caught.value.remedy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('"threshold": 0.1', '"threshold": NaN', 1), "NaN"),
        (lambda text: text.replace('"threshold": 0.1', '"threshold": 1e999', 1), "finite"),
        (lambda text: text.replace("{", '{"version": 2, ', 1), "'version' appears twice"),
        (lambda text: text.replace('"e"', '"\\u0000"', 1), "NUL"),
        (lambda text: "[" * 100_000, "levels"),
        (lambda text: "[]", "mapping"),
        (lambda text: "{}", "version"),
        (lambda text: "", "not JSON"),
    ],
)
def test_a_damaged_file(change: Callable[[str], str], message: str) -> None:
    text = json.dumps({**fields(), "threshold": 0.1})
    with pytest.raises(ConfigError, match=message):
        ThresholdProfile.parse(change(text).encode(), "profile.json")


def test_a_third_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="two encoders"):
        parse({**fields(), "second": {**fields(), "second": fields()}})


@pytest.mark.parametrize("path", ["nowhere", "/", "a\0b", "/dev/zero", "x" * 5000])
def test_what_is_no_file(path: str) -> None:
    with pytest.raises(ConfigError, match="Cannot read the threshold profile"):
        ThresholdProfile.load(path)


def test_a_file_over_the_cap(tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    file.write_text(json.dumps(fields()) + " " * (1 << 20))
    with pytest.raises(ConfigError, match="more than"):
        ThresholdProfile.load(file)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*fields(), "second"]), JSON))
def test_any_fields_are_a_profile_or_one_error(changes: dict[str, Any]) -> None:
    try:
        parse({**fields(), **changes})
    except ConfigError:
        pass
