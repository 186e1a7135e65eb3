"""Pictures for the red guard, and their forms in messages."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from guardalign_middleware.types import CanonicalImage

RED = (255, 0, 0)
BOX = (16, 32, 32, 48)


def picture(
    *, red: bool = False, side: int = 64, colour: tuple[int, int, int] = (0, 0, 255)
) -> CanonicalImage:
    """A square of one colour; with `red`, it has a red block at `BOX`."""
    pixels = np.full((side, side, 3), colour, dtype=np.uint8)
    if red:
        x0, y0, x1, y1 = BOX
        pixels[y0:y1, x0:x1] = RED
    return CanonicalImage(pixels, "red.png" if red else "plain.png")


def all_red(side: int = 64) -> CanonicalImage:
    """A picture that is unsafe as a whole, so that it gets blocked."""
    return picture(side=side, colour=RED)


def has_red(image: CanonicalImage) -> bool:
    """Whether any red pixel is visible."""
    return bool((image.pixels == RED).all(axis=-1).any())


def png(image: CanonicalImage) -> bytes:
    """The picture as PNG bytes, which differ from those that a guard writes for it."""
    buffer = io.BytesIO()
    image.to_pil().save(buffer, "PNG")
    return buffer.getvalue()


def base64_png(image: CanonicalImage) -> str:
    """The picture as base64 PNG."""
    return base64.b64encode(png(image)).decode()


def data_url(image: CanonicalImage) -> str:
    """The picture as a data URL."""
    return f"data:image/png;base64,{base64_png(image)}"


def open_png(data: bytes) -> CanonicalImage:
    """The pixels of PNG bytes."""
    with Image.open(io.BytesIO(data)) as file:
        return CanonicalImage(np.asarray(file.convert("RGB")))


def holds_raw(value: object, png: bytes) -> bool:
    """Whether a value contains the bytes of an image file, raw or as base64.

    Args:
        value: messages, an agent's state, or anything whose `repr` shows its contents.
        png: the file as it was before the guard.
    """
    text = repr(value)
    return base64.b64encode(png).decode("ascii") in text or repr(png)[2:-1] in text
