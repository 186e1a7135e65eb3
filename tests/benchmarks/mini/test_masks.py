from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.mini.masks import DrawnScene, Outcome, draw_sized_scene, figures, outcome
from guardalign_middleware.boxes import intersection
from guardalign_middleware.evaluation.ranking import median_estimate
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.types import Box, CanonicalImage
from tests.support.verdicts import make_verdict

CLEANED = Outcome(True, False, True, (1.0,), (0.9,), 1.5, 1)


def drawn(sides: list[int], seed: int = 4301) -> DrawnScene:
    rng = np.random.default_rng(seed)
    return draw_sized_scene(rng, sides, 360, 270, most_safe=3, style="noto")


def cleaned_with(drawn: DrawnScene, boxes: tuple[Box, ...], fraction: float) -> SanitizedImage:
    image = CanonicalImage(drawn.scene.pixels)
    verdict = make_verdict(image, boxes or [(0, 0, 9, 9)], decision="mask" if boxes else "block")
    return SanitizedImage(image, image if boxes else None, verdict, 1, fraction, 0.5, boxes)


@pytest.mark.parametrize("sides", [[16], [270], [40, 60, 84]])
def test_a_scene_has_one_unsafe_thing_of_each_side(sides: list[int]) -> None:
    scene = drawn(sides).scene
    boxes = [item.box for item in scene.items]
    assert [item.box[2] - item.box[0] for item in scene.unsafe_items] == sides
    assert not any(intersection(a, b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert np.array_equal(scene.pixels, drawn(sides).scene.pixels)


def test_things_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        drawn([200, 200, 200])


def test_cover_and_area_are_those_of_the_unsafe_thing() -> None:
    scene = drawn([100])
    x0, y0, x1, y1 = scene.scene.unsafe_items[0].box
    half = cleaned_with(scene, ((x0, y0, x1, y0 + 49),), 0.1)
    found = outcome(scene, half, 0.6)
    assert found.square_covers == (0.49,)
    (drawing,) = scene.drawings
    assert found.covers == (drawing[y0 : y0 + 49].sum() / drawing.sum(),)
    assert 0.1 < found.covers[0] < 0.5
    assert found.area == pytest.approx(0.1 * 360 * 270 / 10_000)
    assert found.visible
    assert not replace(found, covers=(0.5,)).visible


@pytest.mark.parametrize(("side", "maskable"), [(200, True), (264, False)])
def test_what_is_larger_than_may_be_masked_has_to_be_blocked(side: int, maskable: bool) -> None:
    scene = drawn([side])
    found = outcome(scene, cleaned_with(scene, (), 0.7), 0.6)
    assert (found.blocked, found.maskable, found.covers) == (True, maskable, ())


def test_figures_count_only_what_has_a_say() -> None:
    missed = Outcome(False, False, True, (), (), float("nan"), 0)
    blocked = Outcome(True, True, True, (), (), float("nan"), 3)
    hopeless = replace(blocked, maskable=False)
    shown = replace(CLEANED, covers=(1.0, 0.2))
    row = figures([CLEANED, missed, blocked, hopeless, shown])
    values = {name: value and (value.value, value.n) for name, value in row.items()}
    assert values["found"] == (0.8, 5)
    assert values["cover of the drawing, median"] == (1.0, 3)
    assert values["cover of its square, median"] == (0.9, 2)
    assert values["a thing left visible"] == (0.5, 2)
    assert values["blocked though maskable"] == (1 / 3, 3)
    assert figures([missed])["cover of the drawing, median"] is None


def test_a_median_lies_in_its_interval() -> None:
    found = median_estimate([1.0, 2.0, 3.0, 4.0, 100.0])
    assert found.value == 3.0
    assert found.low <= 3.0 <= found.high
