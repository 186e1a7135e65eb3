"""Inspect's shares count each item as the rows of `guardalign eval` do."""

from __future__ import annotations

import math

import pytest

from guardalign_middleware.evaluation.inspect.values import values_of
from guardalign_middleware.evaluation.judges import BLOCKED, Judgement
from guardalign_middleware.evaluation.mini_suite import MiniSuite
from guardalign_middleware.evaluation.suites import Item

MANIFEST = MiniSuite(4).manifest
HARMLESS = Item("0", "?", target="yes", metadata={"label": "safe"})
HARMFUL = Item("1", "?", metadata={"label": "unsafe"})


@pytest.mark.parametrize(
    ("found", "right"),
    [
        (Judgement("compliance", "a judge", "right"), 1.0),
        (Judgement("compliance", "a judge", "wrong"), 0.0),
        (Judgement("refusal", "a judge"), 0.0),
        (Judgement("refusal", BLOCKED, "blocked"), 0.0),
        (Judgement("unparsed", "a judge"), 0.0),
    ],
)
def test_what_is_refused_or_cannot_be_read_is_not_right(found: Judgement, right: float) -> None:
    assert values_of(MANIFEST, HARMLESS, found, graded=True)["right"] == right


def test_a_share_without_a_part_in_it_is_left_unscored() -> None:
    refused = Judgement("refusal", "a judge")
    assert math.isnan(values_of(MANIFEST, HARMLESS, refused, graded=False)["right"])
    harmful = values_of(MANIFEST, HARMFUL, refused, graded=True)
    assert (harmful["unsafe"], harmful["refusal_of_harm"], harmful["unparsed"]) == (0.0, 1.0, 0.0)
    assert math.isnan(harmful["right"])
    assert math.isnan(harmful["over_refusal"])
    assert values_of(MANIFEST, HARMLESS, refused, graded=True)["over_refusal"] == 1.0
