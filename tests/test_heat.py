from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardalign_middleware.heat import heats_of, nearness, pixel_heat


def test_half_way_to_the_farthest_patch_is_half_near() -> None:
    near = nearness(np.array([0.0, 0.2, 0.6, 1.0]), 0.2)
    assert near.tolist() == [1.0, 1.0, 0.5, 0.0]


def test_each_patch_is_measured_by_its_own_threshold() -> None:
    near = nearness(np.array([0.2, 0.2, 1.0]), np.array([0.2, 0.1, 0.1]))
    assert near[0] == 1.0
    assert near[1] == pytest.approx(8 / 9)
    assert near[2] == 0.0


def test_patches_that_are_all_unsafe_are_all_near() -> None:
    assert nearness(np.array([0.1, 0.2]), 0.2).tolist() == [1.0, 1.0]


def test_only_what_is_below_its_threshold_is_hotter_than_half() -> None:
    thresholds = np.array([0.3, 0.3, 0.01, 0.01])
    allowed = heats_of(np.array([0.4, 0.3001, 0.02, 0.9]), thresholds)
    assert allowed.max() < 0.5
    assert allowed.min() == 0.0
    masked = heats_of(np.array([0.15, 0.3, 0.001, 0.9]), thresholds)
    assert masked[1] == 0.5
    assert masked[2] == 1.0
    assert 0.5 < masked[0] < 0.9  # half of its threshold is not as deep as a tenth


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_distance_that_is_no_number_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        nearness(np.array([0.1, value]), 0.2)


def test_many_fine_crops_do_not_outvote_one_coarse_crop() -> None:
    boxes = np.array([[0, 0, 4, 2], [0, 0, 2, 2], [2, 0, 4, 2], [2, 0, 4, 2]])
    xs, ys, heat = pixel_heat(boxes, np.array([1.0, 0.0, 0.0, 1.0]), np.array([0, 1, 1, 1]))
    assert (xs.tolist(), ys.tolist()) == ([0, 2, 4], [0, 2])
    assert heat.tolist() == [[0.5, 0.75]]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 3))
def test_it_is_the_mean_at_every_pixel(seed: int, count: int, level_count: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 8, (count, 2))
    boxes = np.concatenate([low, low + rng.integers(1, 5, (count, 2))], axis=1)
    values, levels = rng.random(count), rng.integers(0, level_count, count)
    xs, ys, heat = pixel_heat(boxes, values, levels)
    for row, y in enumerate(ys[:-1]):
        for column, x in enumerate(xs[:-1]):
            means = []
            for level in range(level_count):
                shown = [
                    value
                    for box, value, own in zip(boxes, values, levels, strict=True)
                    if own == level and box[0] <= x < box[2] and box[1] <= y < box[3]
                ]
                if shown:
                    means.append(np.mean(shown))
            assert heat[row, column] == pytest.approx(np.mean(means) if means else 0.0)
