"""Handing large pictures to a model's processor one after the other.

A processor copies all pictures of a prompt several times before it makes them small. Most treat
each picture by itself, so the results of single ones, joined, are those of all together. Whether a
processor does is tried with small pictures on first use, and compared exactly; others get all
pictures at once.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from guardalign_middleware.generation.model_faults import MODEL_FAULTS, check_memory
from guardalign_middleware.types import CanonicalImage

# Pixels that a processor gets at once whatever it is.
_TOGETHER = 10_000_000
# Width and height of those that are tried: a processor that looks at shapes shows it.
_TRIED = ((64, 48), (40, 96), (128, 32))


class PictureHandover:
    """Knows how a processor may get its pictures; call it under the processor's lock."""

    def __init__(self) -> None:
        self._alike: dict[bool, bool] = {}

    def arrange(
        self, processor: Any, rows: Sequence[Sequence[CanonicalImage]]
    ) -> tuple[Any, list[list[Image.Image]]]:
        """The processor to call, and what to call it with.

        Args:
            processor: of the model; it stays as it is.
            rows: the pictures of each prompt.
        """
        pixels = sum(image.width * image.height for row in rows for image in row)
        if pixels <= _TOGETHER or not hasattr(processor, "image_processor"):
            return processor, [[image.to_pil() for image in row] for row in rows]
        twin = copy.copy(processor)
        twin.image_processor = _OneByOne(processor.image_processor, self._alike)
        return twin, [[_Unread(image) for image in row] for row in rows]


class _Unread(Image.Image):
    """A picture that is decoded when something asks for its pixels."""

    def __init__(self, image: CanonicalImage) -> None:
        super().__init__()
        # As Pillow's own readers of files set them.
        self._mode, self._size = "RGB", (image.width, image.height)
        self.image = image

    def load(self) -> Any:
        if self._im is None:
            self._im = self.image.to_pil().im
        return super().load()


class _OneByOne:
    """An image processor that reads one picture at a time where this makes no difference."""

    def __init__(self, inner: Any, alike: dict[bool, bool]) -> None:
        self._inner = inner
        self._alike = alike

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __call__(self, images: Any, **options: Any) -> Any:
        nested = bool(images) and isinstance(images[0], list | tuple)
        flat = [image for row in images for image in row] if nested else list(images)
        if all(isinstance(image, _Unread) for image in flat) and self._reads_alone(nested, options):
            joined = _joined([self._alone(_taken(image.image), nested, options) for image in flat])
            if joined is not None:
                return joined
        return self._inner(images, **options)

    def _alone(self, pixels: Tensor, nested: bool, options: Mapping[str, Any]) -> Any:
        return self._inner([[pixels]] if nested else [pixels], **options)

    def _reads_alone(self, nested: bool, options: Mapping[str, Any]) -> bool:
        if nested not in self._alike:
            self._alike[nested] = self._try_alone(nested, options)
        return self._alike[nested]

    def _try_alone(self, nested: bool, options: Mapping[str, Any]) -> bool:
        noise = np.random.default_rng(0)
        tried = [
            CanonicalImage(noise.integers(0, 256, (height, width, 3), dtype=np.uint8))
            for width, height in _TRIED
        ]
        pictures = [image.to_pil() for image in tried]
        try:
            together = self._inner([pictures] if nested else pictures, **options)
            joined = _joined([self._alone(_taken(image), nested, options) for image in tried])
        except MODEL_FAULTS as error:
            check_memory(error)
            return False
        return (
            joined is not None
            and joined.keys() == together.keys()
            and all(_same(value, together[name]) for name, value in joined.items())
        )


def _taken(image: CanonicalImage) -> Tensor:
    """The pixels `[3, H, W]`; the picture gives up its own, which are not needed soon again."""
    pixels = torch.from_numpy(np.ascontiguousarray(image.pixels.transpose(2, 0, 1)))
    image.release()
    return pixels


def _joined(parts: Sequence[Any]) -> Any | None:
    """What a processor made of single pictures, as of all; None if it does not fit together."""
    first = parts[0]
    data: dict[str, Any] = {}
    for name in first:
        values = [part[name] for part in parts if name in part]
        if len(values) != len(parts):
            return None
        if all(isinstance(value, Tensor) for value in values):
            if len({(value.dtype, value.shape[1:]) for value in values}) > 1:
                return None
            data[name] = torch.cat(values)
        elif all(isinstance(value, list) for value in values):
            data[name] = [item for value in values for item in value]
        else:
            return None
    return type(first)(data)


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, Tensor):
        alike = isinstance(other, Tensor) and value.dtype == other.dtype
        return alike and torch.equal(value, other)
    if isinstance(value, list):
        together = isinstance(other, list) and len(value) == len(other)
        return together and all(map(_same, value, other))
    return type(value) is type(other) and bool(np.array_equal(value, other))
