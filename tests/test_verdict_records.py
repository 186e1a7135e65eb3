"""Flat metadata: single values only, the guard's own, and the most severe record first."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.verdict_records import flat_record, is_record_key, without_records

REGION = {"box": [0, 1, 2, 3], "category": "weapon", "distance": 0.25}


def record(decision: str = "allow", **more: Any) -> dict[str, Any]:
    regions = [] if decision == "allow" else [REGION]
    return {
        "source": "<bytes>",
        "decision": decision,
        "distance": 0.5,
        "threshold": 0.25,
        "category": "weapon",
        "regions": regions,
        "profile": "abc",
        **more,
    }


def test_of_observed_images_the_one_that_would_be_treated_worst_stands_in_front() -> None:
    observed = [record("observe", would_be=each, category=each) for each in ("allow", "mask")]
    for records in (observed, observed[::-1]):
        flat = flat_record(records)
        assert (flat["guardalign_decision"], flat["guardalign_would_be"]) == ("observe", "mask")
        assert flat["guardalign_masked"] == 0


def test_one_record_becomes_single_values() -> None:
    assert flat_record([record("mask", action="mask")]) == {
        "guardalign_source": "<bytes>",
        "guardalign_decision": "mask",
        "guardalign_distance": 0.5,
        "guardalign_threshold": 0.25,
        "guardalign_category": "weapon",
        "guardalign_regions": json.dumps([REGION]),
        "guardalign_profile": "abc",
        "guardalign_action": "mask",
        "guardalign_images": 1,
        "guardalign_masked": 1,
        "guardalign_blocked": 0,
    }


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_most_severe_of_several_records_is_in_front_and_all_are_kept(
    order: tuple[int, ...],
) -> None:
    records = [record("allow"), record("mask"), record("block")]
    flat = flat_record([records[index] for index in order])
    assert flat["guardalign_decision"] == "block"
    assert [flat[f"guardalign_{name}"] for name in ("images", "masked", "blocked")] == [3, 1, 1]
    kept = json.loads(str(flat["guardalign_verdicts"]))
    assert [item["decision"] for item in kept] == [records[index]["decision"] for index in order]


def test_without_records_there_is_no_metadata() -> None:
    assert flat_record([]) == {}


def test_what_is_unknown_is_left_out() -> None:
    flat = flat_record([record(distance=None, threshold=math.nan, fault="out of memory")])
    assert "guardalign_distance" not in flat
    assert "guardalign_threshold" not in flat
    assert flat["guardalign_fault"] == "out of memory"


def test_a_decision_of_an_unknown_name_counts_as_severe() -> None:
    assert flat_record([record("allow"), record("later")])["guardalign_decision"] == "later"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(), values), max_size=3))
def test_every_value_is_a_string_a_finite_number_or_a_boolean(records: list[Any]) -> None:
    for key, value in flat_record(records).items():
        assert is_record_key(key)
        assert isinstance(value, str | int | float | bool)
        assert not isinstance(value, float) or math.isfinite(value)


def test_the_guards_keys_are_told_from_others() -> None:
    metadata = {"guardalign": 1, "guardalign_decision": "allow", "guard": 2, "guardaligned": 3}
    assert without_records(metadata) == {"guard": 2, "guardaligned": 3}
    assert metadata["guardalign"] == 1
