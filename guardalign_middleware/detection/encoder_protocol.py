"""What the meter asks of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor


class ImageTextEncoder(Protocol):
    """The interface that the meter needs.

    Attributes:
        image_size: side S of the square input in pixels.
        fingerprint: changes with anything that can change an embedding.
    """

    image_size: int
    fingerprint: str

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Float `[M, 3, S, S]` in [0, 1] to unit rows `[M, D]`, one row for each picture."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts to unit rows `[N, D]`, on the same device as the pictures' rows."""
        ...


@runtime_checkable
class WindowEncoder(ImageTextEncoder, Protocol):
    """An encoder that also embeds parts of a picture, for dense patches.

    Attributes:
        cells: g, the number of parts along each side of the input.
    """

    @property
    def cells(self) -> int:
        """Parts along each side."""
        ...

    def encode_windows(self, pixels: Tensor) -> Tensor:
        """Float `[M, 3, S, S]` in [0, 1] to unit rows `[M, g, g, D]`."""
        ...
