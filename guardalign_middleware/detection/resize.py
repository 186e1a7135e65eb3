"""The one way in which the detector resizes pictures."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


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
