"""The decision comes from distances and limits; a bug in the regions cannot change it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from guardalign_middleware.detection import AnchorBank, ThresholdFit, ThresholdProfile
from guardalign_middleware.detection.decision import verdict_from
from guardalign_middleware.detection.measured import PatchDistances
from guardalign_middleware.errors import GuardError
from guardalign_middleware.testing import (
    EchoRunner,
    has_red,
    picture,
    red_chain,
    red_config,
    red_guard,
)
from guardalign_middleware.types import Action, CanonicalImage, Decision, Region
from tests.support.verdicts import make_evidence

IMAGE = CanonicalImage(np.zeros((20, 30, 3), dtype=np.uint8))
FIND = "guardalign_middleware.detection.decision.find_regions"
RED = picture(red=True)
BLUE = picture()


def raising(*_: object, **__: object) -> Any:
    raise IndexError("no such cell")


def lying(*boxes: tuple[int, int, int, int]) -> Callable[..., Any]:
    return lambda *_, **__: tuple(Region(box, "weapon", 0.0, 0.7) for box in boxes)


BROKEN: dict[str, Callable[..., Any]] = {
    "raises": raising,
    "finds nothing": lambda *_, **__: (),
    "returns None": lambda *_, **__: None,
    "puts the box elsewhere": lying((0, 0, 8, 8)),
    "puts the box outside": lying((900, 900, 950, 950)),
    "returns an empty box": lying((20, 40, 20, 40)),
    "returns NaN": lambda *_: (Region((0, 0, 8, 8), "weapon", float("nan"), 0.7),) * 2,
}


@pytest.fixture(params=BROKEN)
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(FIND, BROKEN[request.param])
    return str(request.param)


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("on_fault", ["raise", "allow"])
def test_a_bug_in_the_regions_changes_no_decision(on_fault: str) -> None:
    guard = red_guard(red_config(on_fault=on_fault))
    verdicts = guard.scan_many([RED, BLUE])
    assert [verdict.decision for verdict in verdicts] == ["mask", "allow"]
    assert verdicts[0].distance <= verdicts[0].threshold
    assert guard.failed_open == 0


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("on_fault", ["raise", "allow"])
def test_a_bug_in_the_regions_lets_no_unsafe_pixel_through(on_fault: str) -> None:
    guard = red_guard(red_config(on_fault=on_fault))
    cleaned = None
    with contextlib.suppress(GuardError):
        cleaned = guard.sanitize(RED)
    assert cleaned is None or (cleaned.verdict.decision, cleaned.image) == ("block", None)
    assert guard.sanitize(BLUE).image is not None
    assert guard.failed_open == 0


@pytest.mark.usefixtures("broken")
def test_a_bug_in_the_regions_lets_no_unsafe_picture_reach_the_model() -> None:
    runner = EchoRunner()
    chain = red_chain(red_config(on_fault="allow"), runner)
    asked = [{"role": "user", "content": [{"type": "image", "image": RED.to_pil()}, "what?"]}]
    with contextlib.suppress(GuardError):
        chain.invoke(asked)
    shown = [image for call in runner.calls for image in call.images]
    assert not any(has_red(image) for image in shown)


def test_a_fault_in_the_regions_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(FIND, raising)
    with caplog.at_level(logging.ERROR):
        assert red_guard().scan(RED).regions == ()
    assert "Its decision stands." in caplog.text
    assert "IndexError" in caplog.text


def measured(*distances: float) -> PatchDistances:
    """One patch for each of the categories a, b and c."""
    boxes = np.array([[10 * k, 0, 10 * k + 10, 10] for k in range(len(distances))])
    evidence = make_evidence(boxes, np.array(distances), tuple("abc")[: len(distances)])
    return PatchDistances(min(distances), "a", evidence)


def decided(distances: tuple[float, ...], *actions: Action, threshold: float = 0.5) -> Decision:
    chosen = dict(zip("abc", actions, strict=False))
    bank = AnchorBank({name: (name,) for name in "abc"}, {}, chosen)
    fit = ThresholdFit(max_false_alarm=None, safe_images=0, false_alarm=0.0)
    profile = ThresholdProfile(threshold, "none: made for tests", fit, {})
    return verdict_from(IMAGE, [measured(*distances)], profile, [bank]).decision


def test_a_patch_is_unsafe_at_the_threshold_and_below() -> None:
    assert decided((0.5, 0.9, 0.9)) == "mask"
    assert decided((np.nextafter(0.5, 1.0), 0.9, 0.9)) == "allow"
    assert decided((-1.0, 0.9, 0.9)) == "mask"


def test_the_most_severe_action_of_the_unsafe_patches_decides() -> None:
    assert decided((0.1, 0.2, 0.3), "flag", "flag", "flag") == "allow"
    assert decided((0.1, 0.2, 0.3), "flag", "mask", "flag") == "mask"
    assert decided((0.3, 0.2, 0.1), "block", "mask", "flag") == "block"
    assert decided((0.9, 0.2, 0.1), "block", "mask", "flag") == "mask"
    assert decided((0.9, 0.9, 0.1), "block", "mask", "flag") == "allow"


def test_a_distance_that_is_not_a_number_is_never_allowed() -> None:
    assert decided((float("nan"), 0.9, 0.9)) == "mask"
