"""Rows of the threat table that concern what is forwarded, and stages after intake."""

from __future__ import annotations

import subprocess
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from torch.nn import functional

from guardalign_middleware.config import PatchConfig
from guardalign_middleware.detection.patches import crop_patches, patch_boxes
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake import load_image
from guardalign_middleware.testing import RED, red_guard
from guardalign_middleware.types import CanonicalImage
from tests.support.pictures import encode, gradient

CANARY = b"canary-c0ffee"


def with_everything(image_format: str) -> bytes:
    """A picture with metadata, and with a second file behind it."""
    exif = Image.Exif()
    exif[0x010E] = CANARY.decode()
    exif[0x0112] = 6
    options: dict[str, object] = {"exif": exif}
    if image_format == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", CANARY.decode())
        options["pnginfo"] = text
    if image_format == "JPEG":
        options["comment"] = CANARY
    return encode(gradient(), image_format, **options) + b"PK\x03\x04<script>" + CANARY


class TestPolyglot:
    @pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP"])
    def test_nothing_but_pixels_is_forwarded(self, image_format: str) -> None:
        data = with_everything(image_format)
        assert data.count(CANARY) >= 2
        image = load_image(data)
        again = image.to_pil()
        assert again.info == {}
        assert not again.getexif()
        for forwarded in ("PNG", "JPEG"):
            buffer = BytesIO()
            again.save(buffer, forwarded)
            assert CANARY not in buffer.getvalue()
            assert b"PK\x03\x04" not in buffer.getvalue()

    def test_the_picture_is_upright_once_and_stays_so(self) -> None:
        image = load_image(with_everything("PNG"))
        assert (image.width, image.height) == (16, 24)
        assert load_image(encode(image.to_pil())).sha256 == image.sha256


@pytest.mark.parametrize(
    "data",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n",
        b"\xc5\xd0\xd3\xc6" + b"\0" * 60,
        b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
        b"\xd7\xcd\xc6\x9a" + b"\0" * 60,
    ],
    ids=["EPS", "EPS with a preview", "SVG", "PDF", "WMF"],
)
def test_what_needs_another_program_is_refused_and_none_is_started(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*arguments: object, **options: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", started)
    with pytest.raises(ImageRejected) as caught:
        load_image(data)
    if data.startswith(b"%PDF-"):
        assert caught.value.reason == "pdf_not_allowed"
        assert "intake.pdf" in caught.value.remedy
    else:
        assert caught.value.reason in {"unknown_format", "format_not_allowed"}
        assert "PNG" in caught.value.remedy


class TestEveryVisiblePixelIsScanned:
    @pytest.mark.parametrize(("width", "height"), [(256, 64), (64, 256), (1600, 16)])
    @pytest.mark.parametrize("end", ["first", "last"])
    def test_a_payload_at_the_edge_of_a_long_picture_is_found(
        self, width: int, height: int, end: str
    ) -> None:
        """A centre crop, as encoders make it themselves, sees none of it."""
        pixels = np.full((height, width, 3), (0, 0, 255), dtype=np.uint8)
        along = pixels if width > height else pixels.transpose(1, 0, 2)
        fifth = max(width, height) // 5
        along[:, :fifth] = RED if end == "first" else along[:, :fifth]
        along[:, -fifth:] = RED if end == "last" else along[:, -fifth:]
        verdict = red_guard().scan(encode(Image.fromarray(pixels)))
        assert verdict.decision == "mask"
        centres = [
            sum(region.box[0 if width > height else 1 :: 2]) / 2 for region in verdict.regions
        ]
        half = max(width, height) / 2
        assert all((centre < half) == (end == "first") for centre in centres)


class TestScalingAttack:
    STRIDE = 6

    def attacked(self) -> CanonicalImage:
        """Blue, but for 2.8% red pixels: those that a scaling to a sixth would pick."""
        pixels = np.full((384, 384, 3), (0, 0, 255), dtype=np.uint8)
        pixels[self.STRIDE // 2 :: self.STRIDE, self.STRIDE // 2 :: self.STRIDE] = RED
        return CanonicalImage(pixels)

    def test_the_attack_is_real(self) -> None:
        nearest = self.attacked().to_pil().resize((64, 64), Image.Resampling.NEAREST)
        assert (np.asarray(nearest) == RED).all()
        careless = functional.interpolate(
            torch.from_numpy(self.attacked().pixels.copy()).permute(2, 0, 1)[None].float(),
            size=(64, 64),
            mode="nearest-exact",
        )
        assert (careless[0, 0] == 255).all()

    def test_the_encoder_sees_what_a_person_sees(self) -> None:
        image = self.attacked()
        config = PatchConfig(sizes=(1.0,), overlap=0.0)
        (crop,) = crop_patches(image, patch_boxes(image.width, image.height, config, 64), 64)
        share = float((np.asarray(image.pixels) == RED).all(axis=-1).mean())
        assert share == pytest.approx(0.028, abs=0.001)
        # The mean colour, within the ringing of a bicubic kernel, rather than the attacker's red.
        assert crop[0].mean().item() == pytest.approx(share, abs=0.01)
        assert crop[0].max().item() < 0.15

    def test_intake_does_not_scale_at_all(self) -> None:
        image = self.attacked()
        taken = load_image(encode(image.to_pil()))
        np.testing.assert_array_equal(taken.pixels, image.pixels)
