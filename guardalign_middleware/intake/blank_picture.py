"""A grey picture, where nothing but a picture can stand."""

from __future__ import annotations

import io
from functools import cache

from PIL import Image

_SIDE = 64


@cache
def blank_png() -> bytes:
    """A grey square as a PNG file."""
    file = io.BytesIO()
    Image.new("RGB", (_SIDE, _SIDE), (128, 128, 128)).save(file, "PNG")
    return file.getvalue()
