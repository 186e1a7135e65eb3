"""Small PNG files, without loss: a palette or grey levels where the picture has no more."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_MOST_COLOURS = 256
_FEW_LEVELS = 16
_LEVEL, _BEST_LEVEL = 6, 9
_SLACK = 1.1
# Above these many pixels, a second try takes too long, and a table of all colours is faster.
_LARGE = 4_000_000
_MANY = 500_000


def smallest_png(pixels: NDArray[np.uint8], expected: int = 0) -> bytes:
    """Encode pixels as PNG at zlib's usual level, which takes 0.07 s a megapixel of a photo.

    Args:
        pixels: uint8 `[H, W, 3]`.
        expected: bytes of the file that they came in; if the result is larger, a small picture is
            encoded in another way as well. 0 = not known.
    """
    colours = palette_of(pixels)
    if colours is None:
        picture = Image.fromarray(pixels)
        data = _png(picture, compress_level=_LEVEL)
        if expected and len(data) > expected * _SLACK and pixels[..., 0].size <= _LARGE:
            # Large even areas compress better with another strategy.
            other = _png(picture, compress_level=_BEST_LEVEL, compress_type=0)
            data = min(data, other, key=len)
        return data
    data = _png(_indexed(pixels, colours), compress_level=_BEST_LEVEL)
    if len(colours) > _FEW_LEVELS and (colours == colours[:, :1]).all():
        grey = Image.fromarray(np.ascontiguousarray(pixels[..., 0]))
        data = min(data, _png(grey, compress_level=_LEVEL), key=len)
    return data


def palette_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The colours of a picture, uint8 `[K, 3]` in order; None for more than 256."""
    found = Image.fromarray(pixels).getcolors(_MOST_COLOURS)
    return None if found is None else np.array(sorted(colour for _, colour in found), np.uint8)


def _indexed(pixels: NDArray[np.uint8], colours: NDArray[np.uint8]) -> Image.Image:
    keys = _packed(colours)
    table = None
    if pixels[..., 0].size > _MANY:
        table = np.zeros(2**24, dtype=np.uint8)
        table[keys] = np.arange(len(keys))
    indices = np.empty(pixels.shape[:2], dtype=np.uint8)
    # In bands: the packed colours of a whole picture take five times its memory.
    rows = max(1, _MANY // pixels.shape[1])
    for top in range(0, pixels.shape[0], rows):
        packed = _packed(pixels[top : top + rows])
        found = np.searchsorted(keys, packed) if table is None else table[packed]
        indices[top : top + rows] = found
    picture = Image.fromarray(indices)
    picture.putpalette(colours.tobytes())
    return picture


def _packed(colours: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Each colour as one number."""
    red, green, blue = (colours[..., channel].astype(np.uint32) for channel in range(3))
    return red << np.uint32(16) | green << np.uint32(8) | blue


def _png(picture: Image.Image, **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", **options)
    return buffer.getvalue()
