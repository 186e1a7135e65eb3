"""The mix of scenes that the shipped profile is fitted and measured on."""

from collections import Counter

import numpy as np
import pytest

from guardalign_middleware.evaluation.attacks import ATTACKS
from guardalign_middleware.mini.clutter import draw_cluttered_scene
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS
from training.clip import mix
from training.clip.mix import changed, draw_mixed_scene, target_of


def test_every_change_is_an_attack_and_the_mix_holds_them_all() -> None:
    assert set(mix._CHANGES) - {"none"} <= set(ATTACKS)
    rng = np.random.default_rng(0)
    drawn = Counter(mix._picked(rng, mix._CHANGES) for _ in range(2_000))
    assert set(drawn) == set(mix._CHANGES)
    assert 900 < drawn["none"] < 1_100


def test_scenes_are_the_same_for_the_same_seed_and_of_all_sorts() -> None:
    scenes = [
        draw_mixed_scene(np.random.default_rng(seed), unsafe=True, split="fitted")
        for seed in range(30)
    ]
    again = draw_mixed_scene(np.random.default_rng(7), unsafe=True, split="fitted")
    assert np.array_equal(scenes[7].image.pixels, again.image.pixels)
    assert len({scene.change for scene in scenes}) > 5
    assert "photograph" in {scene.background for scene in scenes}
    for scene in scenes:
        (x0, y0, x1, y1), = scene.boxes  # fmt: skip
        assert 0 <= x0 < x1 <= scene.image.width
        assert 0 <= y0 < y1 <= scene.image.height


def test_a_change_takes_the_boxes_along() -> None:
    rng = np.random.default_rng(1)
    target = target_of(draw_cluttered_scene(rng, unsafe=True, backgrounds=HELD_OUT_BACKGROUNDS))
    x0, y0, x1, y1 = target.boxes[0]
    large = changed(target, "stretched ×2, wide", rng)
    assert large.image.width == 2 * target.image.width
    assert large.boxes[0] == (2 * x0, y0, 2 * x1, y1)


def test_a_change_that_needs_a_detector_is_refused() -> None:
    rng = np.random.default_rng(2)
    target = target_of(draw_cluttered_scene(rng, unsafe=False, backgrounds=HELD_OUT_BACKGROUNDS))
    with pytest.raises(ValueError, match="needs none"):
        changed(target, "moved onto crop borders", rng)
