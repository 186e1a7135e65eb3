from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from guardalign_middleware.boxes import area, coverage
from guardalign_middleware.config import FormConfig, PatchConfig
from guardalign_middleware.detection import regions as regions_module
from guardalign_middleware.detection.forms import form_of
from guardalign_middleware.detection.patches import patch_boxes
from guardalign_middleware.detection.regions import find_regions
from guardalign_middleware.types import Box, Region

FORMS = (FormConfig(kind="squashed", side=224), FormConfig(kind="native"))


def crops_of(width: int, height: int, side: int = 56) -> tuple[np.ndarray, np.ndarray]:
    """The crops of both forms of a picture, and their levels."""
    boxes, levels, level = [], [], 0
    for config in FORMS:
        form = form_of(config, width, height)
        own = patch_boxes(form.width, form.height, PatchConfig(), side)
        sides = own[:, 2] - own[:, 0]
        boxes.append(form.to_image(own, width, height))
        levels.append(level + np.searchsorted(np.unique(sides), sides))
        level = int(levels[-1].max()) + 1
    return np.concatenate(boxes), np.concatenate(levels)


def share_seen(boxes: np.ndarray, thing: Box) -> np.ndarray:
    """The share of the thing that each crop shows."""
    width = np.minimum(boxes[:, 2], thing[2]) - np.maximum(boxes[:, 0], thing[0])
    height = np.minimum(boxes[:, 3], thing[3]) - np.maximum(boxes[:, 1], thing[1])
    return np.asarray(np.clip(width, 0, None) * np.clip(height, 0, None) / area(thing))


def distances_to(boxes: np.ndarray, *things: Box) -> np.ndarray:
    """What an encoder measures that needs half of a thing, at a size of a few pixels."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    seen = [
        np.clip((share_seen(boxes, thing) - 0.2) / 0.4, 0.0, 1.0)
        * np.clip(np.sqrt(area(thing) / areas) / 0.3, 0.0, 1.0)
        for thing in things
    ]
    return 1.0 - np.max(seen, axis=0)


def regions_of(
    boxes: np.ndarray,
    levels: np.ndarray,
    distances: np.ndarray,
    threshold: float | np.ndarray = 0.2,
    categories: tuple[str, ...] | None = None,
    seeds: np.ndarray | None = None,
) -> tuple[Region, ...]:
    count = len(boxes)
    names = categories or ("a",) * count
    costs = np.arange(count) / count
    return find_regions(boxes, distances, names, threshold, levels, costs, seeds=seeds)


def mask_of(regions: tuple[Region, ...], width: int, height: int) -> np.ndarray:
    return coverage([region.box for region in regions], width, height)


def cover(mask: np.ndarray, thing: Box) -> float:
    return float(mask[thing[1] : thing[3], thing[0] : thing[2]].mean())


def test_nothing_flagged() -> None:
    boxes, levels = crops_of(100, 100)
    assert regions_of(boxes, levels, np.ones(len(boxes))) == ()


def test_a_distance_equal_to_the_threshold_is_unsafe() -> None:
    boxes, levels = np.array([[0, 0, 10, 10]]), np.array([0])
    (region,) = find_regions(boxes, np.array([0.5]), ("a",), 0.5, levels, np.array([0.7]))
    assert (region.category, region.distance, region.cost) == ("a", 0.5, 0.7)


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([(360, 270), (480, 320), (320, 480), (900, 120)]),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)
def test_a_thing_of_any_size_is_covered_and_hugged(
    size: tuple[int, int], x: float, y: float, share: float
) -> None:
    side = round(24 * (min(size) / 24) ** share)
    left, top = round(x * (size[0] - side)), round(y * (size[1] - side))
    thing = (left, top, left + side, top + side)
    boxes, levels = crops_of(*size)
    distances = distances_to(boxes, thing)
    regions = regions_of(boxes, levels, distances)
    mask = mask_of(regions, *size)
    if not regions:
        assert distances.min() > 0.2
        return
    # The worst of 120 places gave 0.88 and 4.02.
    assert cover(mask, thing) >= 0.8
    assert mask.sum() <= 4.5 * max(area(thing), 28 * 28)


def test_the_whole_frame_is_found_as_one_thing() -> None:
    boxes, levels = crops_of(360, 270)
    regions = regions_of(boxes, levels, distances_to(boxes, (0, 0, 360, 270)))
    assert len(regions) == 1
    assert mask_of(regions, 360, 270).mean() >= 0.9


def test_three_things_are_three_regions() -> None:
    things: tuple[Box, ...] = ((20, 20, 80, 80), (300, 30, 380, 110), (150, 220, 220, 290))
    boxes, levels = crops_of(480, 320)
    regions = regions_of(boxes, levels, distances_to(boxes, *things))
    assert len(regions) == 3
    assert all(cover(mask_of(regions, 480, 320), thing) >= 0.75 for thing in things)
    assert mask_of(regions, 480, 320).sum() <= 1.8 * sum(area(thing) for thing in things)


def test_what_safe_crops_show_is_left_out() -> None:
    # The left crop alone would be masked whole; its safe neighbours say that the thing is on top.
    boxes = np.array([[0, 0, 60, 60], [0, 30, 60, 90], [30, 0, 90, 60]])
    alone = regions_of(boxes[:1], np.zeros(1, dtype=int), np.array([0.0]))
    (region,) = regions_of(boxes, np.zeros(3, dtype=int), np.array([0.0, 1.0, 1.0]))
    assert area(region.box) < area(alone[0].box)
    assert region.box[2] < 50
    assert region.box[3] < 50


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000), st.floats(0.01, 0.5))
@example(1, 1.0)
def test_every_flagged_patch_is_touched_and_regions_stay_inside(seed: int, rate: float) -> None:
    boxes, levels = crops_of(300, 220)
    distances = np.random.default_rng(seed).random(len(boxes))
    regions = regions_of(boxes, levels, distances, rate)
    flagged = boxes[distances <= rate]
    touched = [share_seen(flagged, region.box) > 0 for region in regions]
    assert not len(flagged) or np.any(touched, axis=0).all()
    for region in regions:
        x0, y0, x1, y1 = region.box
        assert 0 <= x0 < x1 <= 300
        assert 0 <= y0 < y1 <= 220
        assert region.distance <= rate
    order = [region.distance for region in regions]
    assert order == sorted(order)


def test_many_regions_are_not_all_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    fit = regions_module._fit

    def counted(*args: object) -> np.ndarray:
        calls.append(args)
        return fit(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(regions_module, "_fit", counted)
    rows = np.arange(50) * 20
    boxes = np.stack([rows, rows * 0, rows + 10, rows * 0 + 10], axis=1)
    regions = regions_of(boxes, np.zeros(50, dtype=int), np.zeros(50))
    assert len(regions) == 50
    assert len(calls) == 32


def test_what_is_left_after_many_regions_is_covered_in_large_pieces() -> None:
    columns, rows = (axis.ravel() * 20 for axis in np.meshgrid(np.arange(60), np.arange(50)))
    boxes = np.stack([columns, rows, columns + 10, rows + 10], axis=1)
    distances = np.arange(3000) / 10_000
    names = tuple("ab"[index % 2] for index in range(3000))
    regions = regions_of(boxes, np.zeros(3000, dtype=int), distances, 0.5, names)
    assert len(regions) <= 256 + 64
    mask = mask_of(regions, 1190, 990)
    assert all(cover(mask, box) == 1.0 for box in boxes.tolist())
    # Each is named after the nearest patch in it.
    for region in regions:
        (nearest,) = np.flatnonzero(distances == region.distance)
        assert names[nearest] == region.category
        assert share_seen(boxes, region.box)[nearest] > 0


def test_two_things_keep_their_own_category_distance_and_cost() -> None:
    boxes, levels = crops_of(400, 200)
    things: list[Box] = [(20, 20, 80, 80), (300, 100, 360, 160)]
    left, right = (1.0 - distances_to(boxes, thing) for thing in things)
    distances = 1.0 - np.maximum(left, 0.9 * right)
    categories = tuple("left" if a >= b else "right" for a, b in zip(left, right, strict=True))
    regions = regions_of(boxes, levels, distances, 0.2, categories)
    assert [region.category for region in regions] == ["left", "right"]
    assert regions[0].distance == 0.0
    assert regions[1].distance == pytest.approx(0.1)
    for region in regions:
        rows = np.flatnonzero(distances == region.distance)
        assert region.cost in rows / len(boxes)


def test_only_seeds_start_a_region_but_the_others_help_to_place_it() -> None:
    boxes, levels = crops_of(480, 320)
    thing: Box = (100, 100, 250, 250)
    distances = distances_to(boxes, thing)
    seeds = np.arange(len(boxes)) % 2 == 0
    assert regions_of(boxes, levels, distances, seeds=np.zeros(len(boxes), dtype=bool)) == ()
    regions = regions_of(boxes, levels, distances, seeds=seeds)
    assert cover(mask_of(regions, 480, 320), thing) >= 0.8


def test_forms_with_their_own_thresholds_agree_on_the_place() -> None:
    boxes, levels = crops_of(480, 320)
    thing: Box = (200, 100, 300, 200)
    near = 1.0 - distances_to(boxes, thing)
    coarse = levels < 3
    # The same crops on a scale of their own: unsafe at .5 here and at .05 there.
    distances = np.where(coarse, 1.0 - 0.6 * near, 1.0 - near)
    limits = np.where(coarse, 0.5, 0.1)
    regions = regions_of(boxes, levels, distances, limits)
    assert cover(mask_of(regions, 480, 320), thing) >= 0.8
    assert mask_of(regions, 480, 320).sum() <= 2 * area(thing)


def test_a_thing_only_large_patches_see_is_found_by_them() -> None:
    boxes = patch_boxes(200, 200, PatchConfig(sizes=(50, 200), unit="pixels"), 56)
    large = boxes[:, 2] - boxes[:, 0] == 200
    (region,) = regions_of(boxes, large.astype(int), np.where(large, 0.1, 1.0), 0.3)
    assert area(region.box) >= 0.6 * 200 * 200


def test_two_patches_that_share_little_are_explained_by_what_they_share() -> None:
    boxes = np.array([[175, 172, 231, 228], [0, 64, 192, 256], [64, 0, 256, 192]])
    (region,) = regions_of(boxes, np.array([0, 1, 1]), np.array([0.0, 0.1, 0.9]), 0.3)
    assert region.box[1] > 172
    assert region.box[2] < 231


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_distance_that_is_no_number_is_an_error(value: float) -> None:
    boxes, levels = crops_of(100, 100)
    distances = np.zeros(len(boxes))
    distances[3] = value
    with pytest.raises(ValueError, match="finite"):
        regions_of(boxes, levels, distances)
