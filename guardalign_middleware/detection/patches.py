"""Square crops that together cover every pixel, at several scales."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from guardalign_middleware.config import PatchConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.types import CanonicalImage

_GROWTH = 1.1
_CHUNK_BYTES = 32 * 2**20


def patch_boxes(width: int, height: int, config: PatchConfig) -> NDArray[np.int64]:
    """Boxes of the patches of a `width` × `height` image, small ones first.

    At each size s, crops start at most `round(s * (1 - overlap))` pixels apart, and the last one of
    a row or column is flush with the border, so each size alone covers every pixel. When these are
    more than `max_patches`, all sizes grow by a common factor until they are not, which amounts to
    scanning a smaller copy: every pixel stays covered, but the smallest things are lost.

    Args:
        width: image width in pixels.
        height: image height in pixels.
        config: sizes, their unit, overlap and cap.

    Returns:
        int64 `[M, 4]`, rows `(x0, y0, x1, y1)` in pixels, without duplicates.

    Raises:
        ValueError: the image has no pixel.
        ConfigError: even the largest crops are more than `max_patches`.

    Examples:
        >>> patch_boxes(6, 4, PatchConfig(sizes=(4,), unit="pixels", overlap=0.5)).tolist()
        [[0, 0, 4, 4], [2, 0, 6, 4]]
        >>> len(patch_boxes(640, 480, PatchConfig()))  # 10 · 7 + 5 · 3 + 2 · 1
        87
    """
    if width < 1 or height < 1:
        raise ValueError(f"width and height should be >= 1. Received {width} and {height}.")
    short = min(width, height)
    scale = 1.0 if config.unit == "pixels" else float(short)
    sizes = [size * scale for size in config.sizes]
    while True:
        sides = sorted({max(1, min(round(size), short)) for size in sizes})
        starts = [
            (side, _starts(width, side, config.overlap), _starts(height, side, config.overlap))
            for side in sides
        ]
        count = sum(len(columns) * len(rows) for _, columns, rows in starts)
        if count <= config.max_patches:
            break
        if sides == [short]:
            raise ConfigError(
                f"A {width}×{height} image needs {count} patches of {short} pixels, "
                f"more than max_patches = {config.max_patches}.",
                remedy="Raise patches.max_patches, lower patches.overlap or intake.max_aspect.",
            )
        sizes = [size * _GROWTH for size in sizes]
    boxes = [
        (x, y, x + side, y + side) for side, columns, rows in starts for y in rows for x in columns
    ]
    return np.array(boxes, dtype=np.int64)


def crop_patches(image: CanonicalImage, boxes: NDArray[np.int64], side: int) -> Tensor:
    """Cut boxes out of an image and resize them: bicubic, antialiased, batched by size.

    The resize works on 8-bit levels like Pillow's, so the crops equal those of the encoder's own
    preprocessing to within one level.

    Args:
        image: the canonical image.
        boxes: int64 `[M, 4]` from `patch_boxes`.
        side: the encoder's input size S in pixels.

    Returns:
        float32 `[M, 3, S, S]` in [0, 1], in the order of `boxes`.

    Raises:
        ValueError: a box is not square or leaves the image.
    """
    _check_boxes(image, boxes)
    # A copy: torch warns about read-only arrays.
    pixels = torch.from_numpy(image.pixels.copy())
    # Channels last throughout: the resize is fastest there, and nothing is reordered.
    crops = torch.empty((len(boxes), 3, side, side), memory_format=torch.channels_last)
    sides = boxes[:, 2] - boxes[:, 0]
    for size in np.unique(sides).tolist():
        rows = np.flatnonzero(sides == size)
        step = max(1, _CHUNK_BYTES // (3 * size * size))
        for first in range(0, len(rows), step):
            chunk = rows[first : first + step]
            cut = torch.stack([pixels[y0:y1, x0:x1] for x0, y0, x1, y1 in boxes[chunk].tolist()])
            cut = cut.permute(0, 3, 1, 2)
            if size != side:
                cut = functional.interpolate(
                    cut, size=(side, side), mode="bicubic", align_corners=False, antialias=True
                )
            if chunk[-1] - chunk[0] == len(chunk) - 1:  # consecutive, as from `patch_boxes`
                torch.div(cut, 255.0, out=crops[chunk[0] : chunk[-1] + 1])
            else:
                crops[torch.from_numpy(chunk)] = cut.div(255.0)
    return crops


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Evenly spread starts of crops along one axis; first at 0, last flush with the border."""
    reach = length - side
    if reach == 0:
        return [0]
    stride = max(1, round(side * (1.0 - overlap)))
    steps = math.ceil(reach / stride)
    return [round(step * reach / steps) for step in range(steps + 1)]


def _check_boxes(image: CanonicalImage, boxes: NDArray[np.int64]) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must have shape (M, 4). Got {tuple(boxes.shape)}.")
    x0, y0, x1, y1 = boxes.T
    inside = (x0 >= 0) & (y0 >= 0) & (x1 <= image.width) & (y1 <= image.height) & (x1 > x0)
    if not (inside & (x1 - x0 == y1 - y0)).all():
        raise ValueError(
            f"boxes should be squares inside the {image.width}×{image.height} image. "
            f"Received {boxes[~(inside & (x1 - x0 == y1 - y0))][0].tolist()}."
        )
