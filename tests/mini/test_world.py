"""The pictograph world: what it says about a scene is what the scene shows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardalign_middleware.mini.clutter import draw_cluttered_scene
from guardalign_middleware.mini.world import (
    CONCEPTS,
    HELD_OUT_BACKGROUNDS,
    STYLES,
    TRAINING_BACKGROUNDS,
    UNSAFE_CATEGORIES,
    concepts_of_style,
    draw_background,
    draw_scene,
    place_item,
    sprite,
)


def test_the_concepts_cover_the_unsafe_categories_and_enough_harmless_things() -> None:
    assert UNSAFE_CATEGORIES == ("weapon", "explosive", "drug", "death", "alcohol")
    assert sum(concept.unsafe is None for concept in CONCEPTS) >= 150
    names = [word for concept in CONCEPTS for word in concept.words]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("style", STYLES)
def test_every_concept_of_a_style_has_ink(style: str) -> None:
    drawn = concepts_of_style(style)
    assert len(drawn) >= (100 if style in {"icons", "firefox"} else 200)
    for concept in drawn:
        assert sprite(concept.name, style, 24)[..., 3].mean() > 0.02


def test_a_style_says_what_it_lacks() -> None:
    with pytest.raises(ValueError, match="axe"):
        sprite("axe", "symbola", 32)


def test_no_background_is_both_trained_on_and_held_out() -> None:
    assert not set(TRAINING_BACKGROUNDS) & set(HELD_OUT_BACKGROUNDS)
    for family in (*TRAINING_BACKGROUNDS, *HELD_OUT_BACKGROUNDS):
        pixels = draw_background(np.random.default_rng(0), family, 20, 30)
        assert pixels.shape == (20, 30, 3)
        assert 0.0 <= pixels.min() <= pixels.max() <= 1.0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_cluttered_scenes_keep_their_promises(seed: int, unsafe: bool) -> None:
    rng = np.random.default_rng(seed)
    scene = draw_cluttered_scene(rng, unsafe=unsafe, backgrounds=HELD_OUT_BACKGROUNDS)
    height, width = scene.pixels.shape[:2]
    assert 320 <= width <= 640
    assert 320 <= height <= 640
    assert 4 <= len(scene.items) <= 9
    assert len(scene.unsafe_items) == unsafe
    boxes = [item.box for item in scene.items]
    for index, (x0, y0, x1, y1) in enumerate(boxes):
        assert 34 <= x1 - x0 <= 84
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        for a0, b0, a1, b1 in boxes[index + 1 :]:
            assert x1 <= a0 or a1 <= x0 or y1 <= b0 or b1 <= y0


def test_equal_seeds_draw_equal_scenes() -> None:
    first, second = (
        draw_cluttered_scene(
            np.random.default_rng(3), unsafe=True, backgrounds=HELD_OUT_BACKGROUNDS
        )
        for _ in range(2)
    )
    assert np.array_equal(first.pixels, second.pixels)


def test_items_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        draw_scene(
            np.random.default_rng(0),
            CONCEPTS[:9],
            width=64,
            height=64,
            item_sides=(40, 60),
            backgrounds=("plain",),
        )


def test_an_item_is_cut_at_the_border_and_changes_nothing_beside_it() -> None:
    canvas = np.zeros((20, 20, 3), dtype=np.float32)
    place_item(canvas, np.ones((10, 10, 4), dtype=np.float32), -5, 15)
    assert canvas[15:, :5].min() == 1.0
    assert canvas.sum() == 5 * 5 * 3
