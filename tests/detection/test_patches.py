from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from guardalign_middleware.config import PatchConfig
from guardalign_middleware.detection.patches import crop_patches, patch_boxes
from guardalign_middleware.errors import ConfigError
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
    sizes=st.lists(st.integers(8, 400), min_size=1, max_size=3),
    overlap=st.floats(0.0, 0.9),
)
def test_every_size_covers_every_pixel(
    width: int, height: int, sizes: list[int], overlap: float
) -> None:
    config = PatchConfig(sizes=tuple(sizes), unit="pixels", overlap=overlap, max_patches=10**6)
    boxes = patch_boxes(width, height, config)
    sides = boxes[:, 2] - boxes[:, 0]
    assert set(sides.tolist()) == {min(size, width, height) for size in sizes}
    assert (sides == boxes[:, 3] - boxes[:, 1]).all()
    assert len(np.unique(boxes, axis=0)) == len(boxes)
    for side in np.unique(sides):
        seen = np.zeros((height, width), dtype=bool)
        for x0, y0, x1, y1 in boxes[sides == side]:
            assert x0 >= 0
            assert y0 >= 0
            seen[y0:y1, x0:x1] = True
        assert seen.shape == (height, width), "a box left the image"
        assert seen.all()
        assert boxes[sides == side][:, 2].max() == width
        assert boxes[sides == side][:, 3].max() == height


@given(
    width=st.integers(64, 700),
    height=st.integers(64, 700),
    overlap=st.sampled_from([0.0, 0.5, 0.75]),
)
def test_neighbours_overlap_at_least_as_much_as_asked(
    width: int, height: int, overlap: float
) -> None:
    boxes = patch_boxes(width, height, PatchConfig(sizes=(64,), unit="pixels", overlap=overlap))
    starts = np.unique(boxes[:, 0])
    assert (np.diff(starts) <= 64 * (1 - overlap)).all()


def test_short_side_fractions_follow_the_image() -> None:
    config = PatchConfig(sizes=(0.25, 1.0))
    sides = {b[2] - b[0] for b in patch_boxes(400, 200, config).tolist()}
    assert sides == {50, 200}


@given(width=st.integers(1, 9000), height=st.integers(1, 9000))
def test_too_many_patches_grow_until_they_fit_and_still_cover(width: int, height: int) -> None:
    if max(width, height) > 100 * min(width, height):
        return
    boxes = patch_boxes(width, height, PatchConfig(sizes=(64, 192), unit="pixels", max_patches=300))
    assert len(boxes) <= 300
    assert boxes[:, 0].min() == 0
    assert boxes[:, 1].min() == 0
    assert boxes[:, 2].max() == width
    assert boxes[:, 3].max() == height


def test_an_image_that_fits_is_not_looked_at_more_coarsely() -> None:
    config = PatchConfig(sizes=(64,), unit="pixels", max_patches=9)
    assert patch_boxes(128, 128, config)[0, 2] == 64
    assert patch_boxes(192, 192, config)[0, 2] > 64


def test_an_image_too_long_for_any_size_is_an_error() -> None:
    with pytest.raises(ConfigError, match="max_patches"):
        patch_boxes(1000, 10, PatchConfig(max_patches=20))


def test_an_image_without_pixels_is_an_error() -> None:
    with pytest.raises(ValueError, match="Received 0 and 10"):
        patch_boxes(0, 10, PatchConfig())


@pytest.mark.parametrize("side", [24, 64, 100])
def test_crops_equal_a_resize_crop_by_crop(side: int) -> None:
    image = _picture(230, 170)
    boxes = patch_boxes(230, 170, PatchConfig(sizes=(24, 64, 150), unit="pixels"))
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


@pytest.mark.parametrize("box", [[0, 0, 10, 12], [-1, 0, 9, 10], [95, 0, 105, 10], [5, 5, 5, 5]])
def test_a_box_that_is_no_square_inside_the_image_is_an_error(box: list[int]) -> None:
    with pytest.raises(ValueError, match="squares inside the 100×100 image"):
        crop_patches(_picture(100, 100), np.array([box]), 16)
