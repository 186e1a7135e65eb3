"""Forms: how a model gets a picture, and where what it gets lies on the picture.

A model never sees the file. Its processor squashes the picture into a square, fits it into a box,
or cuts it into tiles. What is hidden in the file may only show in such a form, and what shows in
the file may not be seen in it, so the detector looks at the forms.

A form is differentiable unless it comes from a processor, which lets an adaptive attacker be
simulated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from guardalign_middleware.config import FormConfig, Sight
from guardalign_middleware.detection.resize import changed_image, channels_first, resized
from guardalign_middleware.types import CanonicalImage, FormName

FloatBox = tuple[float, float, float, float]

_SQUASHED = FormConfig(kind="squashed", side=896)
# Sizes that the providers document; docs/cost.md says which.
SIGHTS: dict[Sight, tuple[FormConfig, ...]] = {
    "any": (_SQUASHED, FormConfig(kind="native", pixels=12_845_056)),
    "openai": (_SQUASHED, FormConfig(kind="native", long_side=2048, pixels=2_560_000)),
    "anthropic": (_SQUASHED, FormConfig(kind="native", long_side=2576, pixels=3_750_656)),
    "gemini": (_SQUASHED, FormConfig(kind="native", long_side=3072)),
}
"""What foreign models see: of each provider's models, those that see most."""


@dataclass(frozen=True, eq=False)
class Form:
    """One frame in which a model gets a picture.

    Attributes:
        name: what kind of form it is.
        width, height: of the frame, in its own pixels.
        box: what the frame shows, `(x0, y0, x1, y1)` in pixels of the picture; it reaches beyond
            the picture where the frame is padded.
        pixels: uint8 `[height, width, 3]` from a model's processor; None if the frame is resampled
            from the picture.
    """

    name: FormName
    width: int
    height: int
    box: FloatBox
    pixels: NDArray[np.uint8] | None = field(default=None, repr=False)

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the picture per pixel of the frame, across and down."""
        x0, y0, x1, y1 = self.box
        return (x1 - x0) / self.width, (y1 - y0) / self.height

    def render(self, picture: Tensor) -> Tensor:
        """The frame `[C, height, width]` of a picture `[C, H, W]`, uint8 or float; differentiable.

        Bicubic and antialiased; a float picture in [0, 1] stays there. A frame from a processor is
        returned, resized if the form was shrunk.
        """
        if self.pixels is not None:
            picture = channels_first(self.pixels)
        return resized(picture[None], self.height, self.width)[0]

    def frame(self, image: CanonicalImage) -> CanonicalImage:
        """The frame of an image, as an image."""
        if self.pixels is None and (self.width, self.height) == (image.width, image.height):
            return image
        source = image.pixels if self.pixels is None else self.pixels
        frame = resized(channels_first(source)[None], self.height, self.width)[0]
        return changed_image(frame, image.source)

    def to_image(self, boxes: NDArray[np.int64], width: int, height: int) -> NDArray[np.int64]:
        """Map boxes of the frame to the picture.

        Args:
            boxes: int64 `[M, 4]`, in pixels of the frame.
            width: of the picture, in pixels.
            height: of the picture, in pixels.

        Returns:
            int64 `[M, 4]`, the smallest boxes of the picture that hold what the boxes show, cut at
            its border; each has a pixel, also where a box shows nothing but padding.
        """
        placed = boxes * np.tile(self.scale, 2) + np.tile(self.box[:2], 2)
        low = np.floor(placed[:, :2] + _SLACK).astype(np.int64)
        high = np.ceil(placed[:, 2:] - _SLACK).astype(np.int64)
        most = np.array([width, height])
        low = np.clip(low, 0, most - 1)
        return np.concatenate([low, np.clip(high, low + 1, most)], axis=1)

    def shrunk(self, factor: float) -> Self:
        """The same form in a frame that is smaller by a factor, at least one pixel."""
        width = max(1, round(self.width * factor))
        height = max(1, round(self.height * factor))
        return replace(self, width=width, height=height)


# Of a pixel, against rounding in the scale.
_SLACK = 1e-6


class ModelForms(Protocol):
    """What a runner's processor makes of a picture.

    Attributes:
        fingerprint: changes with anything that can change a frame.
    """

    fingerprint: str

    def __call__(self, image: CanonicalImage) -> Sequence[Form]:
        """The frames in which the model gets the picture, all named "model".

        Raises:
            DetectionError: the frames cannot be found in what the processor makes.
        """
        ...


def configured_forms(sees: Sequence[Sight | FormConfig]) -> tuple[FormConfig, ...]:
    """The forms that are resampled from a picture; what the runner's processor makes is left out.

    Equal forms are named once.
    """
    named = [SIGHTS.get(each, ()) if isinstance(each, str) else (each,) for each in sees]
    return tuple(dict.fromkeys(form for forms in named for form in forms))


def form_of(config: FormConfig, width: int, height: int) -> Form:
    """A configured form of a `width` × `height` picture.

    Raises:
        ValueError: the picture has no pixel.

    Examples:
        >>> form_of(FormConfig(kind="native", long_side=1000), 4000, 3000)
        Form(name='native', width=1000, height=750, box=(0.0, 0.0, 4000.0, 3000.0))
    """
    if width < 1 or height < 1:
        raise ValueError(f"width and height should be >= 1. Received {width} and {height}.")
    whole = Form(config.kind, width, height, (0.0, 0.0, float(width), float(height)))
    if config.side is not None:
        return replace(whole, width=config.side, height=config.side)
    caps = [
        (config.long_side or math.inf) / max(width, height),
        (config.short_side or math.inf) / min(width, height),
        math.sqrt((config.pixels or math.inf) / (width * height)),
    ]
    return whole.shrunk(min(1.0, *caps))
