"""Encoding the scanned pixels for those who decode them again."""

from __future__ import annotations

import io

from PIL import Image

from guardalign_middleware.types import CanonicalImage


def png_bytes(image: CanonicalImage) -> bytes:
    """The image as PNG: only its pixels, nothing else of the file that it came from.

    Compressed at the fastest level: most of the size is won there already, and a chat waits for it.
    """
    buffer = io.BytesIO()
    Image.fromarray(image.pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
