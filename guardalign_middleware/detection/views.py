"""Views: ways to look at a picture that an attacker cannot predict, or more than one of them.

A view is a changed copy. It is differentiable, which lets an adaptive attacker be simulated, and
what is found in it is reported in pixels of the picture itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from guardalign_middleware.config import ViewName
from guardalign_middleware.detection.resize import changed_image, channels_first
from guardalign_middleware.detection.view_seed import seeded_number
from guardalign_middleware.types import CanonicalImage

_RANDOM: frozenset[ViewName] = frozenset({"shifted"})
_SOFTENING = 0.75


@dataclass(frozen=True)
class View:
    """One way to look at a picture, with its random offsets.

    Attributes:
        name: what is done to the picture.
        left, top: how many pixels `shifted` adds there, each less than the picture's shorter side.
    """

    name: ViewName
    left: int = 0
    top: int = 0

    def apply(self, pixels: Tensor) -> Tensor:
        """The changed copy of a picture `[C, H, W]`, uint8 or float; differentiable."""
        match self.name:
            case "as_is":
                return pixels
            case "mirrored":
                return pixels.flip(-1)
            case "softened":
                return _softened(pixels)
            case "shifted":
                # Indices that run down to 0 and up again mirror the border.
                rows = torch.arange(-self.top, pixels.shape[1]).abs()
                columns = torch.arange(-self.left, pixels.shape[2]).abs()
                return pixels[:, rows][:, :, columns]

    def image_of(self, image: CanonicalImage) -> CanonicalImage:
        """The changed copy; for `as_is` the picture itself."""
        if self.name == "as_is":
            return image
        return changed_image(self.apply(channels_first(image.pixels)), image.source)

    def to_image(self, boxes: NDArray[np.int64], width: int) -> NDArray[np.int64]:
        """Map boxes of the changed copy back to the picture.

        Args:
            boxes: int64 `[M, 4]` in pixels of the changed copy.
            width: of the picture, in pixels.

        Returns:
            int64 `[M, 4]`, the smallest boxes of the picture that hold the same pixels. A box that
            shows mirrored pixels beside their originals does not stay square.
        """
        x0, y0, x1, y1 = boxes.T
        match self.name:
            case "as_is" | "softened":
                return boxes
            case "mirrored":
                return np.stack([width - x1, y0, width - x0, y1], axis=1)
            case "shifted":
                columns, rows = _unshifted(x0, x1, self.left), _unshifted(y0, y1, self.top)
                return np.stack([columns[0], rows[0], columns[1], rows[1]], axis=1)


def is_random(names: Sequence[ViewName]) -> bool:
    """Whether any of the views is random."""
    return not _RANDOM.isdisjoint(names)


def views_for(
    names: Sequence[ViewName], width: int, height: int, stride: int, view_seed: str | None
) -> tuple[View, ...]:
    """The views of a `width` × `height` picture.

    `shifted` adds up to one stride of the finest crops at the left and at the top, which lets
    these crops start anywhere.

    Args:
        names: which views.
        width: in pixels.
        height: in pixels.
        stride: how far apart the finest crops start, in pixels.
        view_seed: 32 hexadecimal digits; required when a view is random.

    Raises:
        ValueError: a view is random and `view_seed` is None.
    """
    reach = min(stride, min(width, height) - 1)
    return tuple(
        _shift(reach, view_seed, number) if name == "shifted" else View(name)
        for number, name in enumerate(names)
    )


def _shift(reach: int, view_seed: str | None, number: int) -> View:
    if view_seed is None:
        raise ValueError("A random view needs a view seed.")
    left = seeded_number(view_seed, f"view {number}: left", reach)
    return View("shifted", left, seeded_number(view_seed, f"view {number}: top", reach))


def _unshifted(
    low: NDArray[np.int64], high: NDArray[np.int64], offset: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The range that `[low, high)` shows along one axis: pixel i of the copy is |i − offset|."""
    mirrored = low < offset
    first = np.where(mirrored, np.maximum(offset - high + 1, 0), low - offset)
    last = np.maximum(high - offset, np.where(mirrored, offset - low + 1, 0))
    return first, last


def _softened(pixels: Tensor) -> Tensor:
    """Shrink and enlarge again, which removes fine noise."""
    size = list(pixels.shape[-2:])
    small = [max(1, round(side * _SOFTENING)) for side in size]
    shrunk = functional.interpolate(pixels[None], size=small, mode="bilinear", antialias=True)
    return functional.interpolate(shrunk, size=size, mode="bilinear")[0]
