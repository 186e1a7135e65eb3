from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake.decode import decode_bytes
from tests.support.pictures import encode, gradient


def reason_of(data: bytes) -> str:
    with pytest.raises(ImageRejected) as caught:
        decode_bytes(data, IntakePolicy(), "<bytes>")
    return caught.value.reason


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_half_a_file_is_corrupt(image_format: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(pixels), image_format)
    assert reason_of(data[: len(data) // 2]) == "corrupt"


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_a_second_frame_is_not_hidden(image_format: str) -> None:
    second = Image.new("RGB", (24, 16), (255, 0, 0))
    data = encode(gradient(), image_format, save_all=True, append_images=[second])
    assert reason_of(data) == "multiple_frames"


def test_an_animation_opened_by_the_program_is_refused() -> None:
    from guardalign_middleware.intake import load_image

    second = Image.new("RGB", (24, 16), (255, 0, 0))
    data = encode(gradient(), "GIF", save_all=True, append_images=[second])
    with Image.open(BytesIO(data)) as animation, pytest.raises(ImageRejected) as caught:
        load_image(animation)
    assert caught.value.reason == "multiple_frames"


def test_a_truncated_picture_opened_by_the_program_is_refused() -> None:
    from guardalign_middleware.intake import load_image

    data = encode(gradient(200, 200), "JPEG")
    with (
        Image.open(BytesIO(data[: len(data) // 2])) as lazy,
        pytest.raises(ImageRejected) as caught,
    ):
        load_image(lazy)
    assert caught.value.reason == "corrupt"


def test_the_content_decides_on_the_format() -> None:
    decoded = decode_bytes(encode(gradient(), "JPEG"), IntakePolicy(), "photo.png")
    assert decoded.encoding.image_format == "JPEG"


def test_bytes_behind_the_picture_change_nothing() -> None:
    data = encode(gradient())
    decoded = decode_bytes(data + b"PK\x03\x04<script>", IntakePolicy(), "<bytes>")
    np.testing.assert_array_equal(decoded.frames[0], np.asarray(gradient()))
