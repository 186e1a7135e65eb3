"""Promise 2: the guard looks at the frames that the model gets, for every family's processor.

What a form shows is compared with the picture itself, so that a mistake of the code that takes the
frames out of the processor's outputs cannot hide.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from guardalign_middleware.detection.forms import Form
from guardalign_middleware.generation.frames import ProcessorForms
from guardalign_middleware.generation.prompt.encoder import PromptEncoder
from guardalign_middleware.types import CanonicalImage, ImagePart, Message, TextPart
from tests.support.tiny.families import MATRIX
from tests.support.tiny.parts import template
from tests.support.tiny.processors import PROCESSORS

# Fuyu's patches say nothing about their grid; without a chat template no runner has it, nor
# Florence-2.
REFUSED = {"florence2", "fuyu"}
# Their processors are those of Qwen3-VL, GLM-4.1V, ERNIE 4.5 VL and Gemma 4.
TWINS = {"qwen3_vl_moe", "qwen3_5_moe", "glm4v_moe", "ernie4_5_vl_moe", "gemma4_shared"}
EVERY = sorted({*MATRIX, *PROCESSORS} - REFUSED - TWINS)
# Two families pass tensors to NumPy in a deprecated way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")
EVERY_PROCESSOR = pytest.mark.parametrize("name", EVERY)


@cache
def processor(name: str) -> Any:
    made = PROCESSORS[name]() if name in PROCESSORS else MATRIX[name]()[1]
    if name == "blip2":
        # It has none, which is why no runner loads it.
        made.chat_template = template("<image>")
    return made


@cache
def forms_of(name: str) -> ProcessorForms:
    return ProcessorForms(processor(name))


def noise(width: int, height: int) -> CanonicalImage:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return CanonicalImage(pixels)


# Sizes at which a form of each is the picture itself; 28 is the side of most tiny tiles.
UNCHANGED = [
    *[(28, 28), (56, 28), (56, 56), (112, 84), (64, 64), (84, 84), (112, 112)],
    *[(384, 384), (448, 448)],
]


@EVERY_PROCESSOR
def test_a_picture_that_needs_no_scaling_is_found_pixel_for_pixel(name: str) -> None:
    found = False
    for width, height in UNCHANGED:
        if found and width > 200:
            break
        picture = noise(width, height)
        for form in forms_of(name)(picture):
            # Some are scaled up and down again on the way, so not every form of this size is exact.
            if np.array_equal(_pixels(form), picture.pixels):
                found = True
                assert form.box == (0.0, 0.0, float(width), float(height))
    assert found


# Their tiny versions make a strip 3 pixels wide on the way, which bends it.
BENT = {"idefics3", "smolvlm"}
SHAPES = [
    *[(400, 300), (60, 600)],
    *(pytest.param(*size, marks=pytest.mark.evidence) for size in [(64, 64), (640, 64), (97, 131)]),
]


@EVERY_PROCESSOR
@pytest.mark.parametrize(("width", "height"), SHAPES)
def test_forms_lie_where_they_say_to_a_pixel_of_the_frame(
    name: str, width: int, height: int
) -> None:
    forms = forms_of(name)(waves(width, height))
    assert forms
    for form in forms:
        assert form.name == "model"
        assert (form.height, form.width, 3) == _pixels(form).shape
        if name in BENT and max(width, height) >= 10 * min(width, height):
            assert form.box == pytest.approx((0, 0, width, height), abs=2.6)
            continue
        across, down = form.scale
        x = form.box[0] + across * (np.arange(form.width) + 0.5)
        y = form.box[1] + down * (np.arange(form.height) + 0.5)
        # Kernels are cut off at the border, and there a frame can be mixed with its padding.
        inner_x = _inner(x, width, across)
        inner_y = _inner(y, height, down)
        seen = _pixels(form)[np.ix_(inner_y, inner_x)].astype(float)
        x, y = x[inner_x], y[inner_y]
        # The colours of the places that a pixel of the frame may be off by.
        near = np.stack(
            [
                _waves(x + dx * max(across, 1.0), y + dy * max(down, 1.0), width, height)
                for dx in (-1, 0, 1)
                for dy in (-1, 0, 1)
            ]
        )
        # Strong scaling blurs the waves a little.
        assert (seen >= near.min(axis=0) - 9).all()
        assert (seen <= near.max(axis=0) + 9).all()


def _inner(at: NDArray[np.floating], size: int, scale: float) -> NDArray[np.bool_]:
    margin = 3.0 * scale + 1.0
    inner: NDArray[np.bool_] = (at > margin) & (at < size - margin)
    return inner


def waves(width: int, height: int) -> CanonicalImage:
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    return CanonicalImage(_waves(x, y, width, height).round().astype(np.uint8))


def _waves(
    x: NDArray[np.floating], y: NDArray[np.floating], width: int, height: int
) -> NDArray[np.floating]:
    """A smooth picture `[h, w, 3]` that looks different at each place."""
    across, down = np.meshgrid(x / width, y / height)
    planes = [
        100 + 60 * across + 30 * np.sin(2.2 * np.pi * down),
        150 - 60 * down + 30 * np.cos(2.2 * np.pi * across),
        90 + 40 * np.sin(2.0 * np.pi * (across + down)) + 30 * across,
    ]
    return np.stack(planes, axis=-1)


# Where the outputs are plain pictures, they can be compared without knowing the code under test.
PLAIN = sorted(
    set(EVERY)
    - {"ernie4_5_vl", "gemma4", "glm46v", "glm4v", "kimi_k25", "lfm2_vl", "lfm2_vl, split"}
    - {"minicpm_v", "molmo2", "qwen2_5_vl", "qwen2_vl", "qwen3_5", "qwen3_vl", "qwen3_vl, large"}
)


@pytest.mark.parametrize("name", PLAIN)
def test_every_frame_of_the_model_is_in_a_form(name: str) -> None:
    """All pixels that show the picture, of all frames; rounded, so equal to one level."""
    picture = noise(167, 121)
    forms = [_pixels(form).astype(int) for form in forms_of(name)(picture)]
    for frame in model_frames(name, picture, copies=1):
        assert any(_holds(form, frame) for form in forms) or _is_padding(frame)


def model_frames(name: str, picture: CanonicalImage, copies: int) -> list[NDArray[np.int_]]:
    """The frames `[h, w, 3]` that the model gets, for outputs that are plain pictures."""
    encoder = PromptEncoder(processor(name), prefix="-", placement="before_instruction")
    message = Message("user", (*[ImagePart(picture)] * copies, TextPart("What is it?")))
    inputs = encoder.encode([[message]], prefix=[False], spans=False).inputs
    images = processor(name).image_processor
    frames = []
    for key in (key for key in inputs if "pixel_values" in key):
        own = key.removesuffix("pixel_values").removeprefix("image_")
        mean, std = (getattr(images, f"{own}image_{each}") for each in ("mean", "std"))
        mean, std = torch.tensor(mean), torch.tensor(std)
        values = torch.as_tensor(inputs[key]).float()
        values = values.reshape(-1, *values.shape[-3:]) * std[:, None, None] + mean[:, None, None]
        levels = (values * 255).clamp(0, 255).round().to(torch.int64).permute(0, 2, 3, 1)
        frames += list(levels.numpy())
    return frames


# Rows and columns of noise have a larger range of colours, unless they are mostly padding.
_MIXED = 30


def _holds(form: NDArray[np.int_], frame: NDArray[np.int_]) -> bool:
    """Whether the part of a frame that is no padding, mixed or not, lies somewhere in a form."""
    busy = [np.ptp(frame, axis=axis).max(axis=-1) > _MIXED for axis in (1, 0)]
    rows, columns = (np.flatnonzero(each) for each in busy)
    if not len(rows):
        return False
    part = frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = part.shape[:2]
    corners = form[: form.shape[0] - height + 1, : form.shape[1] - width + 1]
    near = np.argwhere(np.abs(corners - part[0, 0]).max(axis=-1, initial=0) <= 1)
    return any(
        np.abs(form[top : top + height, left : left + width] - part).max() <= 1
        for top, left in near.tolist()
    )


def _is_padding(frame: NDArray[np.int_]) -> bool:
    return bool(np.ptp(frame, axis=(0, 1)).max() <= _MIXED)


@pytest.mark.parametrize("name", ["llava_onevision, 36 tiles", "internvl, 12 tiles", "llava_next"])
def test_a_picture_beside_another_one_is_seen_as_the_model_sees_it_then(name: str) -> None:
    """OneVision drops its tiles when there are several pictures."""
    picture = noise(160, 100)
    forms = [_pixels(form).astype(int) for form in forms_of(name)(picture)]
    beside = model_frames(name, picture, copies=2)
    for frame in beside:
        assert any(_holds(form, frame) for form in forms) or _is_padding(frame)
    if "onevision" in name:
        alone = {frame.tobytes() for frame in model_frames(name, picture, copies=1)}
        assert not alone & {frame.tobytes() for frame in beside}


def test_a_processor_that_does_not_antialias_is_not_smoothed() -> None:
    """A picture made for its kernel: the model sees it, and so does the guard."""
    side, target = 420, 84
    picks = ((np.arange(target) + 0.5) * side / target).astype(int)
    pixels = np.zeros((side, side, 3), dtype=np.uint8)
    pixels[np.ix_(picks, picks)] = 255
    careful = np.asarray(Image.fromarray(pixels).resize((target, target), Image.Resampling.BICUBIC))
    assert careful.mean() < 15
    thumbs = [form for form in forms_of("molmo2")(CanonicalImage(pixels)) if form.width == target]
    assert max(_pixels(form).mean() for form in thumbs) > 240


@pytest.mark.parametrize(("width", "height"), [(196, 140), (252, 140), (140, 84)])
def test_tiles_that_overlap_on_purpose_fit_together(width: int, height: int) -> None:
    picture = noise(width, height)
    assert any(
        np.array_equal(_pixels(form), picture.pixels) for form in forms_of("molmo2")(picture)
    )


# At 100:1 and more, little but padding is left where a picture is fitted into a square.
EXTREME = [(1, 1), (3, 5), (3, 300), (300, 3), (12, 1100), (1999, 20), (7, 500), (1001, 37)]


@pytest.mark.parametrize("name", ["llava_onevision", "llava_onevision, 36 tiles"])
@pytest.mark.parametrize(("width", "height"), [*EXTREME, (17, 23)])
def test_extreme_shapes_are_whole_although_padding_is_mixed_into_them(
    name: str, width: int, height: int
) -> None:
    for form in forms_of(name)(noise(width, height)):
        x0, y0, x1, y1 = form.box
        assert x0 <= 0.5
        assert y0 <= 0.5
        assert x1 >= width - 0.5
        assert y1 >= height - 0.5


def test_crops_can_cross_the_borders_of_tiles() -> None:
    forms = forms_of("internvl, 12 tiles")(noise(400, 300))
    assert [(form.width, form.height) for form in forms] == [(112, 84), (28, 28)]


def _pixels(form: Form) -> NDArray[np.uint8]:
    assert form.pixels is not None
    return form.pixels
