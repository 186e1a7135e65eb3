"""Image files with several frames."""

from __future__ import annotations

import base64
from typing import Any

from guardalign_middleware.types import CanonicalImage
from tests.support.pictures import encode

FORMATS = {
    "GIF": "image/gif",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "MPO": "image/jpeg",
}


def animation(*images: CanonicalImage, image_format: str = "TIFF") -> bytes:
    """One file with the images as its frames."""
    frames = [image.to_pil() for image in images]
    options: dict[str, Any] = {"lossless": True} if image_format == "WEBP" else {}
    return encode(frames[0], image_format, save_all=True, append_images=frames[1:], **options)


def animation_url(*images: CanonicalImage) -> str:
    """The same as the data URL of a TIFF."""
    return f"data:image/tiff;base64,{base64.b64encode(animation(*images)).decode()}"
