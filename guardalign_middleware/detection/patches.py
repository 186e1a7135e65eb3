"""Square crops that together cover every pixel of a frame, at several sizes."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guardalign_middleware.config import PatchConfig
from guardalign_middleware.detection.resize import channels_first, resized
from guardalign_middleware.types import CanonicalImage

PADDING = 127
"""The grey beyond the border of a frame, on each channel."""
# A crop that shows nearly the whole frame adds nothing to the one that shows it all.
_LARGEST_SHARE = 2 / 3
_CHUNK_BYTES = 32 * 2**20


def crop_sides(width: int, height: int, config: PatchConfig, input_side: int) -> list[int]:
    """Sides of the crops of a `width` × `height` frame, from coarse to fine.

    Args:
        width: of the frame, in pixels.
        height: of the frame, in pixels.
        config: sizes, if there are any, and their unit.
        input_side: E, the side of the encoder's input; without sizes the finest crops have it.

    Raises:
        ValueError: the frame has no pixel.

    Examples:
        >>> crop_sides(480, 320, PatchConfig(), 56)
        [480, 224, 112, 56]
    """
    if width < 1 or height < 1:
        raise ValueError(f"width and height should be >= 1. Received {width} and {height}.")
    if config.sizes:
        short = min(width, height)
        scale = 1.0 if config.unit == "pixels" else float(short)
        sides = {max(1, min(round(size * scale), short)) for size in config.sizes}
        return sorted(sides, reverse=True)
    whole = max(width, height)
    finer = []
    side = input_side
    while side <= _LARGEST_SHARE * whole:
        finer.append(side)
        side *= 2
    return [whole, *reversed(finer)]


def crop_count(width: int, height: int, config: PatchConfig, input_side: int) -> int:
    """How many crops `patch_boxes` lays over a frame; same arguments and errors."""
    return sum(
        len(_starts(width, side, config.overlap)) * len(_starts(height, side, config.overlap))
        for side in crop_sides(width, height, config, input_side)
    )


def patch_boxes(width: int, height: int, config: PatchConfig, input_side: int) -> NDArray[np.int64]:
    """Boxes of the crops of a `width` × `height` frame, from coarse to fine.

    At each side s, crops start at most `round(s * (1 - overlap))` pixels apart, and the last one of
    a row or column is flush with the border, so each side alone covers every pixel. A crop that is
    larger than the frame in one direction has the frame in its middle, and shows padding beyond it.

    Args:
        width: of the frame, in pixels.
        height: of the frame, in pixels.
        config: sizes and overlap.
        input_side: E, the side of the encoder's input.

    Returns:
        int64 `[M, 4]`, rows `(x0, y0, x1, y1)` in pixels of the frame, without duplicates.

    Raises:
        ValueError: the frame has no pixel.

    Examples:
        >>> patch_boxes(6, 4, PatchConfig(sizes=(4,), unit="pixels"), 56).tolist()
        [[0, 0, 4, 4], [2, 0, 6, 4]]
        >>> patch_boxes(90, 40, PatchConfig(), 60).tolist()
        [[0, -25, 90, 65], [0, -10, 60, 50], [30, -10, 90, 50]]
        >>> len(patch_boxes(480, 320, PatchConfig(), 56))  # 1 + 4 · 2 + 8 · 5 + 17 · 11
        236
    """
    boxes = [
        (x, y, x + side, y + side)
        for side in crop_sides(width, height, config, input_side)
        for y in _starts(height, side, config.overlap)
        for x in _starts(width, side, config.overlap)
    ]
    return np.array(boxes, dtype=np.int64)


def crop_patches(image: CanonicalImage, boxes: NDArray[np.int64], side: int) -> Tensor:
    """Cut boxes out of an image and resize them: bicubic, antialiased, batched by size.

    The resize works on 8-bit levels like Pillow's, so the crops equal those of the encoder's own
    preprocessing to within one level. Beyond the image's border is grey.

    Args:
        image: the image, or the frame of one.
        boxes: int64 `[M, 4]` from `patch_boxes`.
        side: the encoder's input size S in pixels.

    Returns:
        float32 `[M, 3, S, S]` in [0, 1], in the order of `boxes`.

    Raises:
        ValueError: a box is not square or shows nothing of the image.
    """
    _check_boxes(image, boxes)
    return cut_crops(channels_first(image.pixels), boxes, side, PADDING).div(255.0)


def cut_crops(pixels: Tensor, boxes: NDArray[np.int64], side: int, padding: float) -> Tensor:
    """Cut square boxes out of a picture and resize them; differentiable.

    Args:
        pixels: `[C, H, W]`, uint8 or float in [0, 1], which it stays.
        boxes: int64 `[M, 4]`, each with some pixel of the picture.
        side: S, of the results in pixels.
        padding: the value beyond the border.

    Returns:
        `[M, C, S, S]`, channels last, in the order of `boxes`.
    """
    channels, height, width = pixels.shape
    crops = torch.empty(
        (len(boxes), channels, side, side), dtype=pixels.dtype, memory_format=torch.channels_last
    )
    sides = boxes[:, 2] - boxes[:, 0]
    inside = (boxes[:, :2] >= 0).all(axis=1) & (boxes[:, 2:] <= [width, height]).all(axis=1)
    for row in np.flatnonzero(~inside).tolist():
        crops[row] = _padded_crop(pixels, boxes[row].tolist(), side, padding)
    # Channels last throughout: the resize is fastest there, and nothing is reordered.
    flat = pixels.permute(1, 2, 0)
    for size in np.unique(sides[inside]).tolist():
        rows = np.flatnonzero(inside & (sides == size))
        step = max(1, _CHUNK_BYTES // (channels * size * size))
        for first in range(0, len(rows), step):
            chunk = rows[first : first + step]
            places = boxes[chunk].tolist()
            cut = torch.stack([flat[y0:y1, x0:x1] for x0, y0, x1, y1 in places])
            crops[torch.from_numpy(chunk)] = resized(cut.permute(0, 3, 1, 2), side, side)
    return crops


def _padded_crop(pixels: Tensor, box: list[int], side: int, padding: float) -> Tensor:
    """A crop that reaches beyond the border: what it shows is resized, and the rest is padding."""
    channels, height, width = pixels.shape
    scale = side / (box[2] - box[0])
    left, top = max(box[0], 0), max(box[1], 0)
    shown = pixels[:, top : min(box[3], height), left : min(box[2], width)]
    across, down = (max(1, round(length * scale)) for length in (shown.shape[2], shown.shape[1]))
    x, y = round((left - box[0]) * scale), round((top - box[1]) * scale)
    x, y = min(x, side - across), min(y, side - down)
    crop = torch.full((channels, side, side), padding, dtype=pixels.dtype)
    crop[:, y : y + down, x : x + across] = resized(shown[None], down, across)[0]
    return crop


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Evenly spread starts of crops along one axis; first at 0, last flush with the border."""
    reach = length - side
    if reach <= 0:
        return [-(-reach // 2)]
    stride = max(1, round(side * (1.0 - overlap)))
    steps = math.ceil(reach / stride)
    return [round(step * reach / steps) for step in range(steps + 1)]


def _check_boxes(image: CanonicalImage, boxes: NDArray[np.int64]) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must have shape (M, 4). Got {tuple(boxes.shape)}.")
    x0, y0, x1, y1 = boxes.T
    good = (x0 < image.width) & (y0 < image.height) & (x1 > 0) & (y1 > 0) & (x1 > x0)
    good &= x1 - x0 == y1 - y0
    if not good.all():
        raise ValueError(
            f"boxes should be squares that show something of the {image.width}×{image.height} "
            f"image. Received {boxes[~good][0].tolist()}."
        )
