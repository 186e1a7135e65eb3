"""Whether a written file shows the pixels that were scanned.

A lossy file shows others, and how much others the sender can choose: by quantization tables, or by
fine noise that a file of fewer colours loses. What the guard did not see must not leave that way.
So what was written is decoded again and compared, in blocks and in each channel:

- The mean difference of the pixels in a block is at most 14 levels. A photo that is encoded again
  as it was stays below 10, at quality 60 and turned off its grid below 14. Noise that hides a thing
  takes several times as much (30 and more for the miniature encoder), so it cannot be lost.
- The means of a block differ by at most 6 levels. So nothing that shows when a picture is made
  smaller, as for the encoder's coarse crops, comes or goes.

Levels are those of 8 bits. Blocks have 32 pixels a side: the smallest things that a scan finds in a
large picture have some 55, and single sharp edges still do not count. In a small picture, of which
a crop shows more, they have an eighth of its shorter side, and at least 8 pixels.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageChops

from guardalign_middleware.canonical import Pixels

MOST_DIFFERENCE = 14
"""Of the pixels in a block: the largest mean difference in any channel, in levels of 8 bits."""
MOST_SHIFT = 6
"""Of the mean of a block, in any channel."""
BLOCK = 32
"""Pixels of a side, in all but small pictures."""
_LEAST_BLOCK = 8
_SHARE = 8


def shows(data: bytes, image_format: str, pixels: Pixels) -> bool:
    """Whether a file shows the scanned pixels, within `MOST_DIFFERENCE` and `MOST_SHIFT`.

    Args:
        data: the file, just written.
        image_format: its key in `PIL.Image.OPEN`.
        pixels: uint8 `[H, W, 3]`, of the same size.
    """
    # Opened directly, as in the intake: Image.open has a limit of its own.
    reader, _ = Image.OPEN[image_format]
    with reader(io.BytesIO(data), "") as picture:
        written = picture.convert("RGB")
    return all(_alike(*bands) for bands in _bands(written, pixels))


def block_side(width: int, height: int) -> int:
    """Of the blocks in which pictures of this size are compared, in pixels."""
    return max(_LEAST_BLOCK, min(min(width, height) // _SHARE, BLOCK))


def _bands(written: Image.Image, pixels: Pixels) -> Iterator[tuple[Image.Image, Image.Image, int]]:
    """Both pictures in rows of blocks: whole copies would take memory, and more time."""
    side = block_side(*written.size)
    for top in range(0, written.height, side):
        seen = Image.fromarray(pixels[top : top + side])
        yield seen, written.crop((0, top, written.width, top + seen.height)), side


def _alike(seen: Image.Image, written: Image.Image, side: int) -> bool:
    difference = _highest(ImageChops.difference(seen, written).reduce(side))
    if difference > MOST_DIFFERENCE:
        return False
    # The means of two blocks differ by no more than their pixels do.
    return difference <= MOST_SHIFT or MOST_SHIFT >= _highest(
        ImageChops.difference(seen.reduce(side), written.reduce(side))
    )


def _highest(picture: Image.Image) -> int:
    return int(np.asarray(picture).max())
