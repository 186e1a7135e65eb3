from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from guardalign_middleware.config import PatchConfig
from guardalign_middleware.detection.patches import PADDING, crop_count, crop_patches, patch_boxes
from guardalign_middleware.types import CanonicalImage


def _picture(width: int, height: int, seed: int = 0) -> CanonicalImage:
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3))
    image = Image.fromarray(coarse.astype(np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    return CanonicalImage(np.asarray(image))


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    sizes=st.lists(st.integers(8, 400), max_size=3),
    overlap=st.floats(0.0, 0.9),
)
def test_every_size_covers_every_pixel(
    width: int, height: int, sizes: list[int], overlap: float
) -> None:
    config = PatchConfig(sizes=tuple(sizes), unit="pixels", overlap=overlap)
    boxes = patch_boxes(width, height, config, 32)
    assert len(boxes) == crop_count(width, height, config, 32)
    sides = boxes[:, 2] - boxes[:, 0]
    assert (np.diff(sides) <= 0).all(), "coarse to fine"
    if sizes:
        assert set(sides.tolist()) == {min(size, width, height) for size in sizes}
    else:
        assert sides[0] == max(width, height)
        assert sides.min() >= min(32, max(width, height))
    assert (sides == boxes[:, 3] - boxes[:, 1]).all()
    assert len(np.unique(boxes, axis=0)) == len(boxes)
    for side in np.unique(sides).tolist():
        seen = np.zeros((height, width), dtype=bool)
        here = boxes[sides == side]
        for x0, y0, x1, y1 in here.tolist():
            seen[max(y0, 0) : y1, max(x0, 0) : x1] = True
        assert seen.all()
        for low, high, length in ((0, 2, width), (1, 3, height)):
            beyond = max(side - length, 0)  # half of it on either side
            assert here[:, low].min() == -(beyond // 2)
            assert here[:, high].max() == length + beyond - beyond // 2


@given(
    width=st.integers(64, 700),
    height=st.integers(64, 700),
    overlap=st.sampled_from([0.0, 0.5, 0.75]),
)
def test_neighbours_overlap_at_least_as_much_as_asked(
    width: int, height: int, overlap: float
) -> None:
    boxes = patch_boxes(width, height, PatchConfig(sizes=(64,), unit="pixels", overlap=overlap), 9)
    starts = np.unique(boxes[:, 0])
    assert (np.diff(starts) <= 64 * (1 - overlap)).all()


def test_short_side_fractions_follow_the_image() -> None:
    config = PatchConfig(sizes=(0.25, 1.0))
    sides = {b[2] - b[0] for b in patch_boxes(400, 200, config, 64).tolist()}
    assert sides == {50, 200}


def test_an_image_without_pixels_is_an_error() -> None:
    with pytest.raises(ValueError, match="Received 0 and 10"):
        patch_boxes(0, 10, PatchConfig(), 64)


@pytest.mark.parametrize("side", [24, 64, 100])
def test_crops_equal_a_resize_crop_by_crop(side: int) -> None:
    image = _picture(230, 170)
    boxes = patch_boxes(230, 170, PatchConfig(sizes=(24, 64, 150), unit="pixels"), 64)
    crops = crop_patches(image, boxes, side)
    assert crops.shape == (len(boxes), 3, side, side)
    assert crops.dtype == torch.float32
    picture = image.to_pil()
    for box, crop in zip(boxes.tolist(), crops, strict=True):
        expected = picture.crop(tuple(box)).resize((side, side), Image.Resampling.BICUBIC)
        levels = crop.permute(1, 2, 0).numpy() * 255.0
        assert np.abs(levels - np.asarray(expected)).max() <= 2.01


def test_a_crop_of_the_input_size_is_copied_to_the_bit() -> None:
    image = _picture(80, 60)
    boxes = np.array([[7, 3, 39, 35], [48, 28, 80, 60]])
    crops = crop_patches(image, boxes, 32)
    for (x0, y0, x1, y1), crop in zip(boxes, crops, strict=True):
        cut = image.pixels[y0:y1, x0:x1].astype(np.float32) / 255.0
        assert np.array_equal(crop.permute(1, 2, 0).numpy(), cut)


def test_a_crop_sees_nothing_outside_its_box() -> None:
    image = _picture(100, 100)
    changed = image.pixels.copy()
    changed[:, 50:] = 0
    boxes = np.array([[0, 0, 50, 50], [10, 40, 50, 80]])
    before = crop_patches(image, boxes, 16)
    assert torch.equal(before, crop_patches(CanonicalImage(changed), boxes, 16))


def test_rows_follow_the_order_of_the_boxes() -> None:
    image = _picture(100, 100)
    boxes = np.array([[0, 0, 90, 90], [3, 3, 13, 13], [5, 5, 95, 95], [20, 20, 30, 30]])
    crops = crop_patches(image, boxes, 16)
    for row, box in enumerate(boxes):
        assert torch.equal(crops[row], crop_patches(image, box[None], 16)[0])


@given(width=st.integers(1, 90), height=st.integers(1, 90), side=st.integers(1, 40), data=st.data())
def test_a_crop_beyond_the_border_shows_the_picture_and_grey(
    width: int, height: int, side: int, data: st.DataObject
) -> None:
    """Of a crop at its own size, every pixel can be told."""
    x = data.draw(st.integers(1 - side, width - 1))
    y = data.draw(st.integers(1 - side, height - 1))
    image = _picture(width, height)
    crop = crop_patches(image, np.array([[x, y, x + side, y + side]]), side)[0]
    padded = np.pad(image.pixels, ((side, side), (side, side), (0, 0)), constant_values=PADDING)
    expected = padded[y + side : y + 2 * side, x + side : x + 2 * side]
    assert np.array_equal(np.rint(crop.permute(1, 2, 0).numpy() * 255), expected)


def test_a_long_strip_in_one_crop_takes_little_memory() -> None:
    strip = CanonicalImage(np.full((2, 40_000, 3), 9, dtype=np.uint8))
    (crop,) = crop_patches(strip, np.array([[0, -19_999, 40_000, 20_001]]), 64)
    rows = crop[0].mul(255).round()[:, 0].tolist()
    assert rows.count(9.0) == 1  # at least one row of pixels, wherever it is thinner
    assert rows.count(float(PADDING)) == 63


@pytest.mark.parametrize("box", [[0, 0, 10, 12], [-10, 0, 0, 10], [100, 0, 110, 10], [5, 5, 5, 5]])
def test_a_box_that_is_no_square_or_shows_nothing_is_an_error(box: list[int]) -> None:
    with pytest.raises(ValueError, match="squares that show something of the 100×100 image"):
        crop_patches(_picture(100, 100), np.array([box]), 16)
