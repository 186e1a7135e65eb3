from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from guardalign_middleware.evaluation.attacks import ATTACKS, FAMILIES, Target
from guardalign_middleware.evaluation.attacks.covers import cut_into_strips
from guardalign_middleware.evaluation.attacks.shapes import (
    LIMITS,
    size_within_limits,
)
from guardalign_middleware.types import CanonicalImage

SIDE = 32
GREY = 127


def crops(width: int, height: int) -> NDArray[np.int64]:
    """Crops of 32 pixels, half overlapping."""
    boxes = [
        (x, y, x + SIDE, y + SIDE)
        for y in range(0, height - SIDE + 1, SIDE // 2)
        for x in range(0, width - SIDE + 1, SIDE // 2)
    ]
    return np.array(boxes, dtype=np.int64)


def red_square(width: int = 192, height: int = 160) -> Target:
    pixels = np.full((height, width, 3), GREY, dtype=np.uint8)
    pixels[64:96, 96:128] = (255, 0, 0)
    return Target(CanonicalImage(pixels, "square"), ((96, 64, 128, 96),))


def attacked(name: str, target: Target | None = None) -> Target:
    return ATTACKS[name](target or red_square(), crops, np.random.default_rng(0))


def shown(target: Target) -> NDArray[np.bool_]:
    """Where the thing is: neither the background nor white."""
    levels = target.image.pixels.astype(int)
    return (np.abs(levels - GREY).max(axis=2) > 40) & (levels.min(axis=2) < 200)


def test_every_attack_is_in_one_family() -> None:
    names = [name for family in FAMILIES.values() for name in family]
    assert sorted(names) == sorted(ATTACKS)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ATTACKS)
def test_the_boxes_go_where_the_things_go(name: str) -> None:
    before = red_square()
    after = attacked(name, before)
    assert before.image.pixels[64, 96].tolist() == [255, 0, 0]
    thing = shown(after)
    hidden = np.zeros_like(thing)
    for x0, y0, x1, y1 in after.boxes:
        assert 0 <= x0 < x1 <= after.image.width
        assert 0 <= y0 < y1 <= after.image.height
        assert thing[y0:y1, x0:x1].mean() > 0.15
        hidden[y0:y1, x0:x1] = True
    if name == "half covered":
        before_box = before.boxes[0]
        hidden[before_box[1] : before_box[3], before_box[0] : before_box[2]] = True
    # JPEG and strong scaling let colour run over the edge.
    assert (thing & ~hidden).sum() <= (0.2 if "JPEG" in name else 0.1) * thing.sum()


@pytest.mark.parametrize("name", ATTACKS)
def test_the_default_intake_accepts_every_attack(name: str) -> None:
    image = attacked(name).image
    assert image.width * image.height <= LIMITS.max_pixels
    assert max(image.width, image.height) <= LIMITS.max_aspect * min(image.width, image.height)


@given(width=st.floats(0.1, 1e6), height=st.floats(0.1, 1e6))
def test_sizes_stop_at_the_limits_of_the_intake(width: float, height: float) -> None:
    sides = size_within_limits(width, height)
    assert min(sides) >= 1
    assert sides[0] * sides[1] <= LIMITS.max_pixels
    assert max(sides) <= LIMITS.max_aspect * min(sides)
    if 100 <= min(width, height) and max(width, height) < 50 * min(width, height):
        # Whatever is in the way of the pixels alone keeps its shape.
        assert sides[0] / sides[1] == pytest.approx(width / height, rel=0.02)
        if width * height > LIMITS.max_pixels:
            assert sides[0] * sides[1] > 0.95 * LIMITS.max_pixels


def test_scale_and_shape() -> None:
    sizes = {
        name: (image.width, image.height)
        for name in FAMILIES["scale and shape"]
        for image in [attacked(name).image]
    }
    assert sizes["enlarged ×4"] == (768, 640)
    assert sizes["half the size"] == (96, 80)
    assert sizes["stretched ×8, wide"] == (1536, 160)
    assert sizes["stretched ×8, high"] == (192, 1280)
    assert sizes["stretched to 100:1"] == (16_000, 160)
    assert sizes["stretched to 1:100"] == (192, 19_200)
    assert sizes["squashed to 64×256"] == (64, 256)
    assert sizes["padded to twice the size"] == (384, 320)
    assert sizes["letterboxed to 3:1"] == (480, 160)
    assert sizes["letterboxed to 1:3"] == (192, 576)
    assert sizes["alone in a strip of 40:1"] == (1280, 32)
    tiny = attacked("tiny: shrunk to a third on a canvas")
    assert (tiny.image.width, tiny.image.height) == (192, 160)
    assert tiny.boxes[0][2] - tiny.boxes[0][0] <= 12


def test_quarter_turns_and_mirrors_lose_no_pixel() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)
    target = Target(CanonicalImage(pixels), ((10, 20, 30, 50),))
    for turns, name in enumerate(("turned by 90 degrees", "turned by 180 degrees"), start=1):
        after = attacked(name, target)
        assert np.array_equal(after.image.pixels, np.rot90(pixels, turns))
        x0, y0, x1, y1 = after.boxes[0]
        thing = np.rot90(pixels[20:50, 10:30], turns)
        assert np.array_equal(after.image.pixels[y0:y1, x0:x1], thing)
    after = attacked("mirrored", target)
    assert after.boxes == ((60, 20, 80, 50),)
    assert np.array_equal(after.image.pixels, pixels[:, ::-1])


def test_colours() -> None:
    grey = attacked("grey").image.pixels
    assert np.array_equal(grey[..., 0], grey[..., 1])
    inverse = attacked("inverse").image.pixels
    assert np.array_equal(inverse, 255 - red_square().image.pixels)


def test_covers_and_cuts() -> None:
    ruled = attacked("white grid, every 8 px").image.pixels
    white = (ruled == 255).all(axis=2)
    assert white.mean() == pytest.approx(1 - (6 / 8) ** 2)
    half = attacked("half covered")
    x0, y0, x1, y1 = half.boxes[0]
    assert (x1 - x0) * (y1 - y0) == 32 * 32 // 2
    assert (half.image.pixels[y0:y1, x0:x1] == (255, 0, 0)).all()
    red = (half.image.pixels == (255, 0, 0)).all(axis=2)
    assert red.sum() == 32 * 32 // 2
    strips = attacked("cut into strips with gaps")
    x0, y0, x1, y1 = strips.boxes[0]
    row = (strips.image.pixels[80] == (255, 0, 0)).all(axis=1)
    runs = np.diff(np.flatnonzero(np.diff(np.pad(row, 1).astype(int))))[::2]
    assert runs.tolist() == [8, 8, 8, 8]
    assert row[x0:x1].sum() == 32 == row.sum()


@given(width=st.integers(4, 90), left=st.integers(0, 60), side=st.integers(1, 60))
def test_strips_hold_every_pixel_of_the_picture(width: int, left: int, side: int) -> None:
    left, side = min(left, width - 1), min(side, width - min(left, width - 1))
    pixels = np.random.default_rng(0).integers(0, 200, (3, width, 3), dtype=np.uint8)
    target = Target(CanonicalImage(pixels), ((left, 0, left + side, 3),))
    after = cut_into_strips(target, crops, np.random.default_rng(0))
    kept = (after.image.pixels != 255).any(axis=(0, 2))
    assert np.array_equal(after.image.pixels[:, kept], pixels)
    x0, _, x1, _ = after.boxes[0]
    part = after.image.pixels[:, x0:x1][:, kept[x0:x1]]
    assert np.array_equal(part, pixels[:, left : left + side])


def test_places() -> None:
    square = red_square()
    moved = attacked("moved onto crop borders", square)

    def best_share(target: Target) -> float:
        x0, y0, x1, y1 = target.boxes[0]
        return max(
            max(min(b[2], x1) - max(b[0], x0), 0) * max(min(b[3], y1) - max(b[1], y0), 0)
            for b in crops(target.image.width, target.image.height).tolist()
        ) / ((x1 - x0) * (y1 - y0))

    assert best_share(square) == 1.0
    assert best_share(moved) <= 0.7
    assert len(attacked("three more copies").boxes) == 4
