"""Verdicts and results that have been through JSON are those that went in."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardalign_middleware.sanitize import Cleaning
from guardalign_middleware.testing import all_red, picture, red_guard
from guardalign_middleware.types import Evidence, Region, Verdict, WordsRead
from guardalign_middleware.wire import WireCleaning, WireVerdict
from guardalign_middleware.wire.arrays import WireArray
from tests.support.verdicts import grid_evidence, make_verdict, plain_image

NUMBERS = st.floats(allow_nan=False)


def through_json(verdict: Verdict) -> Verdict:
    text = WireVerdict.of(verdict, evidence=True).model_dump_json()
    return WireVerdict.model_validate_json(text).read()


def same_evidence(one: Evidence, other: Evidence) -> bool:
    pairs = [(getattr(one, f.name), getattr(other, f.name)) for f in fields(Evidence)]
    return all(
        type(a) is type(b)
        and (
            a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
            if isinstance(a, np.ndarray)
            else a == b or a != a
        )
        for a, b in pairs
    )


@pytest.mark.parametrize("image", [picture(), picture(red=True), all_red()])
def test_a_scan(image: Any) -> None:
    verdict = red_guard().scan(image)
    again = through_json(verdict)
    assert again == verdict
    assert same_evidence(again.evidence, verdict.evidence)
    assert not again.evidence.patch_boxes.flags.writeable


@settings(max_examples=25)
@given(NUMBERS, NUMBERS, st.lists(NUMBERS, min_size=16, max_size=16), st.text(max_size=5))
def test_every_number_keeps_its_bits(
    distance: float, threshold: float, distances: list[float], text: str
) -> None:
    text = text.encode("utf-8", "replace").decode()
    image = plain_image()
    verdict = replace(
        make_verdict(
            image,
            [(1, 2, 9, 9)],
            distance=distance,
            category=text,
            evidence=grid_evidence(40, 30, distances),
        ),
        threshold=threshold,
        regions=(Region((0, 0, 3, 4), text, distance, 0.0, "flag", "words"),),
        words=WordsRead(1, 2, 3, "0", "reader", (text,)),
        scaled_from=(80, 60),
    )
    again = through_json(verdict)
    assert again == verdict
    assert same_evidence(again.evidence, verdict.evidence)


def test_a_picture_that_was_allowed_unscanned() -> None:
    nothing = Evidence(
        *(np.empty((0, 4), np.int64), np.empty(0), (), np.empty(0), np.empty(0, np.int64), ()),
        marginal_error=float("nan"),
        iterations=0,
        solver="",
        encoder="e",
    )
    verdict = replace(
        make_verdict(plain_image(), evidence=nothing),
        distance=float("nan"),
        fault="encode: broken",
    )
    again = through_json(verdict)
    assert np.isnan(again.distance)
    assert replace(again, distance=0.0) == replace(verdict, distance=0.0)
    assert same_evidence(again.evidence, nothing)


@pytest.mark.parametrize("image", [picture(), picture(red=True), all_red()])
def test_a_result_of_cleaning(image: Any) -> None:
    item = red_guard().sanitize(image)
    again = WireCleaning.model_validate_json(
        WireCleaning.of(item, evidence=True).model_dump_json()
    ).read()
    assert vars(again) == vars(Cleaning.of(item))


@pytest.mark.parametrize(
    "change",
    [
        {"distance": None},
        {"fault": "encode: broken", "decision": "block"},
        {"evidence": None},
    ],
)
def test_a_verdict_that_cannot_be(change: dict[str, Any]) -> None:
    good = WireVerdict.of(red_guard().scan(picture(red=True)), evidence=True)
    with pytest.raises(ValueError, match="distance|unsafe|evidence"):
        good.model_copy(update=change).read()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"patch_distances": WireArray.of(np.zeros(3), "<f8")}, "shape"),
        ({"patch_boxes": WireArray.of(np.zeros(4, np.int64), "<i8")}, "shape"),
        ({"patch_costs": WireArray.of(np.zeros(16, np.int64), "<i8")}, "<f8"),
        ({"patch_costs": WireArray(dtype="<f8", shape=(16,), data="AAAA")}, "bytes"),
        ({"patch_costs": WireArray(dtype="<f8", shape=(16,), data="%")}, "base64"),
        ({"categories": ()}, "does not exist"),
        ({"levels": ()}, "does not exist"),
    ],
)
def test_evidence_whose_parts_do_not_belong_together(change: dict[str, Any], problem: str) -> None:
    good = WireVerdict.of(make_verdict(plain_image()), evidence=True)
    assert good.evidence is not None
    broken = good.model_copy(update={"evidence": good.evidence.model_copy(update=change)})
    with pytest.raises(ValueError, match=problem):
        broken.read()


@pytest.mark.parametrize(
    ("decision", "passed"), [("allow", None), ("block", "verdict"), ("mask", "verdict")]
)
def test_what_may_leave_has_a_verdict_that_allows_it(decision: Any, passed: Any) -> None:
    item = red_guard().sanitize(picture())
    good = WireCleaning.of(item, evidence=True)
    verdict = good.verdict.model_copy(update={"decision": decision})
    with pytest.raises(ValueError, match="passes"):
        good.model_copy(update={"verdict": verdict, "passed": passed}).read()
