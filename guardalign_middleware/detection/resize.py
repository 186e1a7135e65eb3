"""Pictures as tensors, and the one way in which the detector resizes them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from guardalign_middleware.types import CanonicalImage


def channels_first(pixels: NDArray[np.uint8]) -> Tensor:
    """Pixels `[H, W, 3]` as a tensor `[3, H, W]` of the same 8-bit levels."""
    # A copy: torch warns about read-only arrays.
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def changed_image(levels: Tensor, source: str) -> CanonicalImage:
    """A tensor `[3, H, W]` of 8-bit levels as an image."""
    pixels = levels.permute(1, 2, 0).contiguous().numpy()
    pixels.flags.writeable = False
    return CanonicalImage(pixels, source)


def resized(pictures: Tensor, height: int, width: int) -> Tensor:
    """Resize `[N, C, H, W]`: bicubic and antialiased, on 8-bit levels like Pillow's.

    Differentiable for float pictures, which stay in [0, 1].
    """
    if tuple(pictures.shape[2:]) == (height, width):
        return pictures
    result = functional.interpolate(
        pictures, size=(height, width), mode="bicubic", align_corners=False, antialias=True
    )
    return result.clamp(0.0, 1.0) if result.is_floating_point() else result
