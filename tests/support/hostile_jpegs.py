"""JPEGs whose tables are not what their numbers suggest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from guardalign_middleware.testing.photos import file_of

FINE, COARSE = [1] * 64, [1, *[255] * 63]


def with_tables(
    picture: Image.Image,
    tables: Sequence[Sequence[int]],
    numbers: Sequence[int] = (0, 1, 2),
    **options: Any,
) -> bytes:
    """A JPEG whose components have these tables.

    Args:
        picture: to be saved.
        tables: of the components: brightness, then colours.
        numbers: how the file numbers the tables.
        options: others of Pillow.
    """
    data = bytearray(file_of(picture, "JPEG", qtables=[list(table) for table in tables], **options))
    at = 2
    while data[at + 1] != 0xDA:
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDB:
            for place in range(at + 4, end, 65):
                data[place] = numbers[data[place]]
        if marker in {0xC0, 0xC1, 0xC2}:
            for component in range(data[at + 9]):
                place = at + 12 + 3 * component
                data[place] = numbers[data[place]]
        at = end
    return bytes(data)


def red_under_noise(side: int = 16) -> Image.Image:
    """Red under noise, with no red pixel in it; a coarse table for brightness removes the noise."""
    # Of 64 pixels whose brightness has no coefficient that the coarse table keeps.
    block = np.random.default_rng(1150).permutation(64).reshape(8, 8) % 2
    bright = np.tile(block, (side // 8, side // 8))
    colours = np.array([(125, 0, 0), (255, 100, 100)], dtype=np.uint8)
    return Image.fromarray(colours[bright])
