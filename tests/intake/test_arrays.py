"""Which arrays are pictures, and what becomes of their numbers when a picture is replaced."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from guardalign_middleware.intake.arrays import as_array, could_be_picture, like, pictures_in
from guardalign_middleware.testing import picture

RAW, CLEAN = picture(red=True), picture(colour=(0, 255, 0))
PIXELS = RAW.pixels

ARRAYS: dict[str, Any] = {
    "uint8": PIXELS.copy(),
    "batch": np.stack([PIXELS, PIXELS]),
    "channels first": np.moveaxis(PIXELS, -1, 0),
    "float": PIXELS / 255,
    "float up to 255": PIXELS.astype(np.float16),
    "uint16": PIXELS.astype(np.uint16) * 257,
    "int64": PIXELS.astype(np.int64),
    "normalised": ((PIXELS / 255 - 0.45) / 0.22)[None],
    "tensor": torch.from_numpy(np.moveaxis(PIXELS, -1, 0) / 255),
    "bfloat16": torch.from_numpy(PIXELS / 255).to(torch.bfloat16),
}


def near(image: Image.Image, pixels: Any) -> bool:
    return bool((np.abs(np.asarray(image.convert("RGB")) - pixels.astype(int)) < 4).all())


@pytest.mark.parametrize("name", ARRAYS)
def test_a_picture_is_read_and_replaced_in_any_type_and_layout(name: str) -> None:
    value = ARRAYS[name]
    array = as_array(value)
    assert array is not None
    found = pictures_in(array)
    assert found is not None
    assert len(found) == (2 if name == "batch" else 1)
    assert all(near(image, PIXELS) for image in found.pictures())
    before = array.copy()
    new = like(value, found.put([CLEAN.to_pil()] * len(found)))
    assert (type(new), new.dtype, new.shape) == (type(value), value.dtype, value.shape)
    again = as_array(new)
    assert again is not None
    put = pictures_in(again)
    assert put is not None
    assert not any(near(image, PIXELS) for image in put.pictures())
    assert np.array_equal(array, before)


@pytest.mark.parametrize(
    "array",
    [
        np.linspace(-1, 1, 1536),
        np.random.default_rng(1).normal(size=(40, 64)),
        np.zeros((8, 8, 3), np.uint8),
        np.ones((32, 32), complex),
        np.array(["a", "b"]),
        np.zeros((0, 64, 64, 3), np.uint8),
    ],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)
def test_other_arrays_are_numbers(array: Any) -> None:
    assert pictures_in(array) is None


def test_two_long_sides_could_be_a_picture_whatever_the_numbers_are() -> None:
    assert could_be_picture(np.random.default_rng(1).normal(size=(40, 64)))
    assert not could_be_picture(np.zeros((40, 8)))
    assert not could_be_picture(np.full((40, 64), "a"))


def test_an_array_of_another_library_may_have_an_interface_only() -> None:
    class Frame:
        __array_interface__ = PIXELS.__array_interface__

    assert np.array_equal(as_array(Frame()), PIXELS)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [1, "a", b"a", [1, 2], np.float32(1), np.ndarray, None])
def test_other_values_are_no_arrays(value: object) -> None:
    assert as_array(value) is None
