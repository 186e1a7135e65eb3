"""Several images of one picture, as for models that read a picture in tiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOST = 16
_PIECE = 0.75
"""Side of a piece relative to the picture; smaller pieces would cut most things."""


def cut(pixels: NDArray[np.uint8], count: int) -> list[NDArray[np.uint8]]:
    """The whole picture, then overlapping pieces row by row, enlarged to its size.

    Args:
        pixels: `[H, W, 3]`.
        count: number of images, 1 to 16.

    Raises:
        ValueError: `count` is out of range.
    """
    if not 1 <= count <= MOST:
        raise ValueError(f"count should be in 1..{MOST}. Received {count}.")
    height, width = pixels.shape[:2]
    image = Image.fromarray(pixels)
    across = int(np.ceil(np.sqrt(count - 1)))
    found = [pixels]
    for index in range(count - 1):
        row, column = divmod(index, across)
        left, top = (
            (1 - _PIECE) * side * (place / max(across - 1, 1))
            for side, place in ((width, column), (height, row))
        )
        box = (left, top, left + _PIECE * width, top + _PIECE * height)
        found.append(np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=box)))
    return found
