from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from guardalign_middleware.config import DetectionConfig, FormConfig
from guardalign_middleware.detection.forms import SIGHTS, Form, configured_forms, form_of
from guardalign_middleware.types import CanonicalImage

SIDES = st.integers(1, 3000)


def noise(width: int, height: int) -> CanonicalImage:
    rng = np.random.default_rng(0)
    return CanonicalImage(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_a_squashed_form_is_what_pillow_makes_of_the_picture() -> None:
    image = noise(90, 60)
    form = form_of(FormConfig(kind="squashed", side=32), 90, 60)
    expected = image.to_pil().resize((32, 32), Image.Resampling.BICUBIC)
    levels = form.frame(image).pixels.astype(int) - np.asarray(expected)
    assert np.abs(levels).max() <= 2


def test_a_native_form_is_the_picture_itself_unless_it_is_too_large() -> None:
    image = noise(90, 60)
    assert form_of(FormConfig(kind="native"), 90, 60).frame(image) is image
    assert form_of(FormConfig(kind="native", long_side=90), 90, 60).frame(image) is image
    small = form_of(FormConfig(kind="native", long_side=45), 90, 60).frame(image)
    assert (small.width, small.height) == (45, 30)


@given(
    width=SIDES,
    height=SIDES,
    long_side=st.none() | st.integers(1, 2000),
    short_side=st.none() | st.integers(1, 2000),
    pixels=st.none() | st.integers(1, 10**6),
)
def test_a_native_form_keeps_its_caps_and_its_shape(
    width: int,
    height: int,
    long_side: int | None,
    short_side: int | None,
    pixels: int | None,
) -> None:
    config = FormConfig(kind="native", long_side=long_side, short_side=short_side, pixels=pixels)
    form = form_of(config, width, height)
    assert 1 <= form.width <= width
    assert 1 <= form.height <= height
    low, high = sorted((form.width, form.height))
    assert long_side is None or high <= max(1, long_side)
    assert short_side is None or low <= max(1, short_side)
    # Rounding adds at most half a pixel to a side, and no side is below one.
    assert pixels is None or low == 1 or (high - 0.5) * (low - 0.5) <= pixels
    across, down = form.scale
    assert across * form.width == pytest.approx(width)
    if low >= 20:
        assert across == pytest.approx(down, rel=0.06)


@given(width=SIDES, height=SIDES, side=st.integers(1, 500), data=st.data(), padded=st.booleans())
def test_boxes_map_to_the_smallest_boxes_of_the_picture(
    width: int, height: int, side: int, data: st.DataObject, padded: bool
) -> None:
    box = (-5.5, -2.0, width + 3.0, height + 9.0)
    form = Form("model", side, side, box if padded else (0.0, 0.0, float(width), float(height)))
    x = data.draw(st.integers(-5, side - 1))
    y = data.draw(st.integers(-5, side - 1))
    size = data.draw(st.integers(1, side))
    ((x0, y0, x1, y1),) = form.to_image(np.array([[x, y, x + size, y + size]]), width, height)
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    for low, high, offset, scale, start, length in (
        (x0, x1, form.box[0], form.scale[0], x, width),
        (y0, y1, form.box[1], form.scale[1], y, height),
    ):
        first, last = offset + scale * start, offset + scale * (start + size)
        if last > 0 and first < length:
            assert low <= max(first, 0.0) + 1e-3
            assert high >= min(last, float(length)) - 1e-3
            assert low > first - 1 - 1e-3 or low == 0
            assert high < last + 1 + 1e-3 or high == length


def test_a_form_from_a_processor_shows_its_own_pixels() -> None:
    pixels = noise(20, 10).pixels
    form = Form("model", 20, 10, (0.0, 0.0, 200.0, 100.0), pixels)
    assert np.array_equal(form.frame(noise(200, 100)).pixels, pixels)
    half = form.shrunk(0.5).frame(noise(200, 100))
    assert (half.width, half.height) == (10, 5)
    assert half.pixels.mean() == pytest.approx(pixels.mean(), abs=5)


def test_a_gradient_flows_back_through_a_resampled_form() -> None:
    picture = torch.rand(3, 40, 60, requires_grad=True)
    form = form_of(FormConfig(kind="squashed", side=16), 60, 40)
    frame = form.render(picture)
    assert frame.shape == (3, 16, 16)
    assert bool(((frame >= 0.0) & (frame <= 1.0)).all())
    (gradient,) = torch.autograd.grad(frame.sum(), picture)
    assert float(gradient.abs().sum()) > 0


def test_what_is_seen_may_be_named_listed_or_given() -> None:
    own = FormConfig(kind="squashed", side=64)
    assert configured_forms(("model", own, "any", own)) == (own, *SIGHTS["any"])
    assert configured_forms(("any", "openai")) == tuple(
        dict.fromkeys((*SIGHTS["any"], *SIGHTS["openai"]))
    )
    for sees in ("any", {"kind": "native"}, ["model", {"kind": "squashed", "side": 8}]):
        data = {"encoder": {"model": "x"}, "anchors": "y", "sees": sees}
        assert isinstance(DetectionConfig.model_validate(data).sees, tuple)


@pytest.mark.parametrize(
    "form",
    [
        {"kind": "squashed"},
        {"kind": "squashed", "side": 8, "pixels": 9},
        {"kind": "native", "side": 8},
        {"kind": "native", "long_side": 0},
        {"kind": "letterbox"},
    ],
)
def test_a_form_with_the_wrong_fields_is_an_error(form: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FormConfig.model_validate(form)
