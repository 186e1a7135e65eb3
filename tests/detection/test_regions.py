from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from guardalign_middleware.config import PatchConfig
from guardalign_middleware.detection.patches import patch_boxes
from guardalign_middleware.detection.regions import find_regions
from guardalign_middleware.types import Box


def share_seen(boxes: np.ndarray, thing: Box) -> np.ndarray:
    """The share of each patch that shows the thing."""
    width = np.minimum(boxes[:, 2], thing[2]) - np.maximum(boxes[:, 0], thing[0])
    height = np.minimum(boxes[:, 3], thing[3]) - np.maximum(boxes[:, 1], thing[1])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.asarray(np.clip(width, 0, None) * np.clip(height, 0, None) / areas)


def area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def test_nothing_flagged() -> None:
    boxes = patch_boxes(100, 100, PatchConfig())
    assert find_regions(boxes, np.ones(len(boxes)), ("a",) * len(boxes), 0.5) == ()


def test_a_distance_equal_to_the_threshold_is_unsafe() -> None:
    boxes = np.array([[0, 0, 10, 10]])
    (region,) = find_regions(boxes, np.array([0.5]), ("a",), 0.5)
    assert (region.box, region.category, region.distance) == ((0, 0, 10, 10), "a", 0.5)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 400), st.integers(0, 300), st.integers(34, 84))
def test_regions_hug_one_thing(x: int, y: int, side: int) -> None:
    thing = (x, y, x + side, y + side)
    boxes = patch_boxes(484, 384, PatchConfig(sizes=(56, 112, 192), unit="pixels"))
    seen = share_seen(boxes, thing)
    distances = 1.0 - np.minimum(seen * 2.0, 1.0)
    regions = find_regions(boxes, distances, ("a",) * len(boxes), 0.6)
    mask = np.zeros((384, 484), dtype=bool)
    for region in regions:
        x0, y0, x1, y1 = region.box
        mask[y0:y1, x0:x1] = True
    # The worst of 6,000 places gave 0.86 and 3.6.
    assert mask[y : y + side, x : x + side].mean() >= 0.75
    assert mask.sum() <= 4.5 * max(area(thing), 56 * 56)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(0.02, 0.5))
@example(4361, 0.125)  # a region that explains none of its patches
def test_every_flagged_patch_is_touched_and_regions_stay_inside(seed: int, rate: float) -> None:
    boxes = patch_boxes(300, 220, PatchConfig(sizes=(48, 96), unit="pixels"))
    distances = np.random.default_rng(seed).random(len(boxes))
    regions = find_regions(boxes, distances, ("a",) * len(boxes), rate)
    for patch, distance in zip(boxes, distances, strict=True):
        if distance <= rate:
            assert any(share_seen(patch[None], region.box)[0] > 0 for region in regions)
    for region in regions:
        x0, y0, x1, y1 = region.box
        assert 0 <= x0 < x1 <= 300
        assert 0 <= y0 < y1 <= 220
        assert region.distance <= rate
    order = [region.distance for region in regions]
    assert order == sorted(order)


def test_two_things_keep_their_own_category() -> None:
    boxes = patch_boxes(400, 200, PatchConfig(sizes=(64, 112), unit="pixels"))
    left = share_seen(boxes, (20, 20, 80, 80))
    right = share_seen(boxes, (300, 100, 360, 160))
    distances = 1.0 - np.minimum(left + 0.8 * right, 1.0)
    categories = tuple("left" if a >= b else "right" for a, b in zip(left, right, strict=True))
    regions = find_regions(boxes, distances, categories, 0.7)
    assert [region.category for region in regions] == ["left", "right"]


def test_a_thing_only_large_patches_see_is_found_by_them() -> None:
    boxes = patch_boxes(200, 200, PatchConfig(sizes=(50, 200), unit="pixels"))
    sides = boxes[:, 2] - boxes[:, 0]
    distances = np.where(sides == 200, 0.1, 1.0)
    (region,) = find_regions(boxes, distances, ("a",) * len(boxes), 0.3)
    assert region.box == (0, 0, 200, 200)


def test_a_large_patch_beside_what_small_ones_found_adds_nothing() -> None:
    boxes = np.array([[175, 172, 231, 228], [0, 64, 192, 256], [64, 0, 256, 192]])
    regions = find_regions(boxes, np.array([0.0, 0.1, 0.9]), ("a",) * 3, 0.3)
    assert [region.box for region in regions] == [(175, 172, 231, 228)]
