"""Counter-measures: the detector looks more than once, or where an attacker cannot foresee.

A view is a changed copy of the picture, float `[3, H, W]` in [0, 1]; it is differentiable, so an
attacker who knows the counter-measure can attack through it. An image is unsafe when any of its
views is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from guardalign_middleware.config import PatchConfig
from guardalign_middleware.detection import Detector
from guardalign_middleware.types import CanonicalImage

View = Callable[[Tensor, PatchConfig, np.random.Generator], Tensor]
_SOFTENING = 0.75


def as_is(pixels: Tensor, _: PatchConfig, __: np.random.Generator) -> Tensor:
    """The picture itself."""
    return pixels


def mirrored(pixels: Tensor, _: PatchConfig, __: np.random.Generator) -> Tensor:
    """Left and right exchanged."""
    return pixels.flip(-1)


def softened(pixels: Tensor, _: PatchConfig, __: np.random.Generator) -> Tensor:
    """Made smaller and large again, which takes fine noise away."""
    size = pixels.shape[-2:]
    small = [max(1, round(side * _SOFTENING)) for side in size]
    shrunk = functional.interpolate(pixels[None], size=small, mode="bilinear", antialias=True)
    return functional.interpolate(shrunk, size=tuple(size), mode="bilinear")[0]


def shifted(pixels: Tensor, config: PatchConfig, rng: np.random.Generator) -> Tensor:
    """Mirrored pixels added at left and top, so that the crops stand at random offsets."""
    short = min(pixels.shape[-2:])
    side = min(config.sizes) * (1.0 if config.unit == "pixels" else short)
    reach = min(max(1, round(side * (1.0 - config.overlap))), short - 1)
    left, top = (int(offset) for offset in rng.integers(0, reach + 1, 2))
    return functional.pad(pixels[None], (left, 0, top, 0), mode="reflect")[0]


@dataclass(frozen=True)
class Defence:
    """A counter-measure.

    Attributes:
        name: for the table.
        views: what is scanned; its cost is their number.
        overlap: of the crops, instead of the configured one.
    """

    name: str
    views: tuple[View, ...] = (as_is,)
    overlap: float | None = None

    def applied(self, detector: Detector) -> Detector:
        """The detector that this counter-measure scans with; its threshold stays the same one."""
        if self.overlap is None:
            return detector
        patches = detector.config.patches.model_copy(update={"overlap": self.overlap})
        config = detector.config.model_copy(update={"patches": patches})
        return Detector(detector.encoder, detector.anchors, config)

    def distances(
        self, detector: Detector, image: CanonicalImage, rng: np.random.Generator
    ) -> dict[str, float]:
        """Smallest patch distance in each category over all views; `detector` is `applied`'s."""
        pixels = to_tensor(image)
        views = [
            from_tensor(view(pixels, detector.config.patches, rng), image.source)
            for view in self.views
        ]
        nearest: dict[str, float] = {}
        for measured in detector.distances_many(views):
            for name, value in measured.by_category().items():
                nearest[name] = min(value, nearest.get(name, value))
        return nearest


NO_DEFENCE = Defence("none")
DEFENCES = (
    NO_DEFENCE,
    Defence("random crop offsets", (shifted,)),
    Defence("a second, random grid", (as_is, shifted)),
    Defence("as is, mirrored, softened", (as_is, mirrored, softened)),
    Defence("overlap 0.75", overlap=0.75),
)


def to_tensor(image: CanonicalImage) -> Tensor:
    """Float `[3, H, W]` in [0, 1]."""
    return torch.from_numpy(image.pixels.copy()).permute(2, 0, 1) / 255.0


def from_tensor(pixels: Tensor, source: str) -> CanonicalImage:
    """Rounded to 8 bits."""
    levels = (pixels.detach().clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
    return CanonicalImage(levels.permute(1, 2, 0).contiguous().numpy(), source)
