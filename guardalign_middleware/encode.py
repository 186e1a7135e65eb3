"""Encoding scanned pixels as an image file."""

from __future__ import annotations

import io

from PIL import Image

from guardalign_middleware.types import CanonicalImage


def png_bytes(image: CanonicalImage) -> bytes:
    """The image as PNG: its pixels only, without metadata of the original file.

    Compressed at the fastest level, which saves most of the size and little of the user's time.
    """
    buffer = io.BytesIO()
    Image.fromarray(image.pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
