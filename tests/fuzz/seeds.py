"""Small valid files in every format that intake can read, in many variants."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from tests.support.pictures import encode, gradient

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
_WIDTH, _HEIGHT = 19, 13
# The modes that each format can store.
_MODES = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("L", "P", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "YCbCr", "LAB"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "AVIF": ("RGB", "RGBA"),
}
_VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "JPEG": ({"progressive": True}, {"quality": 30, "subsampling": 2}, {"restart_marker_rows": 1}),
    "PNG": ({"compress_level": 0}, {"transparency": (1, 2, 3)}, {"dpi": (72, 72)}),
    "WEBP": ({"lossless": True}, {"quality": 20}),
    "GIF": ({"interlace": 0}, {"comment": b"words"}),
    "TIFF": tuple(
        {"compression": name}
        for name in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg", "tiff_adobe_deflate")
    ),
    "BMP": (),
    "AVIF": ({"quality": 30, "speed": 10},),
}
_ANIMATED = ("PNG", "WEBP", "GIF", "TIFF", "AVIF", "MPO")


def in_mode(mode: str) -> Image.Image:
    """The asymmetric picture in a Pillow mode."""
    picture = gradient(_WIDTH, _HEIGHT)
    if mode == "I;16":
        return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    return picture.convert("RGB").convert(mode) if mode != "LAB" else _lab(picture)


def exif_block() -> bytes:
    """An EXIF block with an orientation, text and a thumbnail directory."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "words"
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0words"
    return exif.tobytes()


def colour_profile() -> bytes:
    """An ICC profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@cache
def seed_files() -> tuple[bytes, ...]:
    """All variants, each a file of a few hundred bytes."""
    files = [
        encode(in_mode(mode), image_format, **_quick(image_format))
        for image_format in FORMATS
        for mode in _MODES[image_format]
    ]
    files += [
        encode(gradient(_WIDTH, _HEIGHT), image_format, **{**_quick(image_format), **options})
        for image_format in FORMATS
        for options in _VARIANTS[image_format]
    ]
    files += [
        encode(
            gradient(_WIDTH, _HEIGHT),
            image_format,
            exif=exif_block(),
            icc_profile=colour_profile(),
            **_quick(image_format),
        )
        for image_format in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
    ]
    files += [encode(in_mode("L"), "TIFF", compression=name) for name in ("tiff_lzw", "packbits")]
    files += [encode(in_mode("1"), "TIFF", compression=name) for name in ("group3", "group4")]
    files += [_animation(image_format) for image_format in _ANIMATED]
    return tuple(files)


@cache
def plain_png() -> bytes:
    """A minimal PNG."""
    return encode(gradient(8, 6))


def _quick(image_format: str) -> dict[str, Any]:
    return {"speed": 10} if image_format == "AVIF" else {}


def _lab(picture: Image.Image) -> Image.Image:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    changed = ImageCms.profileToProfile(picture, srgb, lab, outputMode="LAB")
    assert changed is not None
    return changed


def _animation(image_format: str) -> bytes:
    frames = [gradient(_WIDTH, _HEIGHT), gradient(_WIDTH, _HEIGHT).rotate(180)]
    more: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    return encode(frames[0], image_format, **more, **_quick(image_format))
