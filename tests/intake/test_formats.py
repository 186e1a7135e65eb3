from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import AvifImagePlugin, Image, features

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake import load_image
from guardalign_middleware.intake.formats import format_of
from tests.support.pictures import encode, gradient

AVIF = IntakePolicy(formats=("PNG", "AVIF"))
HEIF = IntakePolicy(formats=("PNG", "HEIF"))
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="Pillow without libavif")


def file_type_box(major: bytes, *brands: bytes) -> bytes:
    body = major + b"\0\0\0\0" + b"".join(brands)
    return (len(body) + 8).to_bytes(4, "big") + b"ftyp" + body + b"\0" * 40


def rejected(data: bytes, policy: IntakePolicy | None = None) -> ImageRejected:
    with pytest.raises(ImageRejected) as caught:
        load_image(data, policy or IntakePolicy())
    return caught.value


@needs_avif
class TestAvif:
    DATA = encode(gradient(), "AVIF", quality=95) if features.check("avif") else b""

    def test_it_is_off_and_the_error_says_how_to_switch_it_on(self) -> None:
        error = rejected(self.DATA)
        assert error.reason == "format_not_allowed"
        assert 'Add "AVIF" to intake.formats' in error.remedy

    def test_a_general_container_is_known_by_its_other_brands(self) -> None:
        error = rejected(file_type_box(b"mif1", b"mif1", b"miaf", b"avif"))
        assert 'Add "AVIF" to intake.formats' in error.remedy

    def test_switched_on_it_is_read(self) -> None:
        shown = load_image(self.DATA, AVIF).pixels.astype(int)
        assert np.abs(shown - np.asarray(gradient()).astype(int)).mean() < 25

    def test_without_the_codec_the_error_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(AvifImagePlugin, "SUPPORTED", False)
        for policy in (IntakePolicy(), AVIF):
            error = rejected(self.DATA, policy)
            assert error.reason == "format_not_installed"
            assert "libavif" in error.remedy
        assert "to intake.formats" not in error.remedy

    def test_an_animation_is_several_frames(self) -> None:
        second = Image.new("RGB", (24, 16), (255, 0, 0))
        data = encode(gradient(), "AVIF", save_all=True, append_images=[second])
        assert rejected(data, AVIF).reason == "multiple_frames"


class TestHeic:
    @pytest.mark.parametrize(
        "data",
        [
            file_type_box(b"heic", b"mif1", b"heic"),
            # This is how phones write them; Pillow's AVIF reader would claim it.
            file_type_box(b"mif1", b"mif1", b"heic"),
            file_type_box(b"msf1", b"hevc"),
            file_type_box(b"mif1"),
        ],
    )
    def test_the_error_says_what_to_install(self, data: bytes) -> None:
        for policy in (IntakePolicy(), AVIF, HEIF):
            error = rejected(data, policy)
            assert error.reason == "format_not_installed"
            assert "pillow_heif.register_heif_opener()" in error.remedy
            assert ("HEIF" in error.remedy) != ("HEIF" in policy.formats)

    def test_an_installed_reader_is_used_once_it_is_allowed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reader: Callable[..., Any] = lambda stream, name: gradient()  # noqa: E731
        monkeypatch.setitem(Image.OPEN, "HEIF", (reader, None))
        data = file_type_box(b"heic", b"mif1")
        assert 'Add "HEIF" to intake.formats' in rejected(data).remedy
        np.testing.assert_array_equal(load_image(data, HEIF).pixels, np.asarray(gradient()))


def test_a_film_is_no_picture() -> None:
    assert rejected(file_type_box(b"isom", b"mp41")).reason == "unknown_format"


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_each_format_can_be_the_only_one(image_format: Any) -> None:
    only = IntakePolicy(formats=(image_format,))
    assert format_of(encode(gradient(), image_format), only, "<bytes>") == image_format
    other = "PNG" if image_format == "BMP" else "BMP"
    error = rejected(encode(gradient(), other), only)
    assert error.reason == "format_not_allowed"
    assert image_format in error.remedy
