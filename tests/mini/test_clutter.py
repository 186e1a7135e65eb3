"""Scenes that the miniature detector is fitted and measured on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardalign_middleware.mini.clutter import (
    draw_cluttered_scene,
    draw_sized_scene,
    pick_strangers,
)
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS, Scene
from guardalign_middleware.mini.world.strangers import SPLITS, STRANGERS, Split
from guardalign_middleware.types import Box


def boxes_of(scene: Scene) -> list[Box]:
    return [item.box for item in scene.items] + [each.box for each in scene.strangers]


def apart(scene: Scene) -> bool:
    boxes = boxes_of(scene)
    return all(
        x1 <= a0 or a1 <= x0 or y1 <= b0 or b1 <= y0
        for index, (x0, y0, x1, y1) in enumerate(boxes)
        for a0, b0, a1, b1 in boxes[index + 1 :]
    )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.sampled_from(SPLITS))
def test_strangers_take_the_place_of_some_harmless_things(
    seed: int, unsafe: bool, split: Split
) -> None:
    rng = np.random.default_rng(seed)
    scene = draw_cluttered_scene(
        rng, unsafe=unsafe, backgrounds=HELD_OUT_BACKGROUNDS, strangers=split, hand="openmoji"
    )
    assert len(scene.unsafe_items) == unsafe
    count = len(scene.items) + len(scene.strangers)
    assert 4 <= count <= 9
    assert count / 3 <= len(scene.strangers) <= (count + 1) / 2
    assert {each.stranger.split for each in scene.strangers} == {split}
    assert {each.hand for each in scene.strangers} == {"openmoji"}
    assert apart(scene)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from((16, 24, 60, 150, 220, 300)),
    st.sampled_from(((360, 270), (480, 320))),
    st.booleans(),
)
def test_the_first_thing_has_its_size_and_everything_else_stays_apart(
    seed: int, side: int, size: tuple[int, int], unsafe: bool
) -> None:
    width, height = size
    canvas = np.zeros((height, width, 3), dtype=np.float32)
    scene = draw_sized_scene(
        np.random.default_rng(seed), canvas, side=side, unsafe=unsafe, strangers="fitted"
    )
    assert scene.pixels.shape == (height, width, 3)
    assert len(scene.unsafe_items) == unsafe
    boxes = boxes_of(scene)
    assert min(side, height) in [x1 - x0 for x0, _, x1, _ in boxes]
    if unsafe:
        x0, y0, x1, y1 = scene.unsafe_items[0].box
        assert x1 - x0 == y1 - y0 == min(side, height)
        assert scene.pixels[y0:y1, x0:x1].any()
    assert len(boxes) <= 4
    assert apart(scene)


def test_only_strangers_of_the_kinds_asked_for_are_picked() -> None:
    rng = np.random.default_rng(0)
    picked = pick_strangers(rng, 5, "reported", "noto", ("tool", "bones"))
    assert len({each.name for each in picked}) == 5
    assert {each.kind for each in picked} <= {"tool", "bones"}
    # The kind has too few, so some stand twice.
    assert len(pick_strangers(rng, 6, "reported", "noto", ("glasses",))) == 6
    assert "glasses" in {each.kind for each in STRANGERS}
    with pytest.raises(ValueError, match="firefox"):
        pick_strangers(rng, 1, "reported", "firefox", ("no such kind",))
