"""An encoder without a model, which sees only colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from guardalign_middleware.errors import ConfigError


class FakeEncoder:
    """An `ImageTextEncoder` that sees only colours, so that tests can plant something to find.

    A picture is embedded as its shares of red, green, blue, yellow, white, black and grey pixels,
    scaled to length 1; a text as the sum of the colours it names. The larger the share of saturated
    red in a crop, the nearer the crop is to the anchor "red".
    """

    COLOURS: ClassVar[dict[str, tuple[int, int, int]]] = {
        "red": (255, 0, 0),
        "green": (0, 255, 0),
        "blue": (0, 0, 255),
        "yellow": (255, 255, 0),
        "white": (255, 255, 255),
        "black": (0, 0, 0),
        "grey": (127, 127, 127),
    }

    def __init__(self, image_size: int = 16) -> None:
        self.image_size = image_size
        self.fingerprint = f"fake-encoder-{image_size}"
        self._palette = torch.tensor(list(self.COLOURS.values()), dtype=torch.float32) / 255.0

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Shares of the nearest palette colours, `[M, 7]`."""
        flat = pixels.flatten(2).transpose(1, 2)
        distance = (flat[:, :, None, :] - self._palette).square().sum(dim=-1)
        shares = functional.one_hot(distance.argmin(dim=-1), len(self._palette)).float().mean(dim=1)
        return functional.normalize(shares, dim=-1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """The colours named by each text, `[N, 7]`.

        Raises:
            ConfigError: a text names no colour.
        """
        rows = torch.zeros(len(texts), len(self.COLOURS))
        for row, text in zip(rows, texts, strict=True):
            words = text.lower().split()
            for index, colour in enumerate(self.COLOURS):
                row[index] = words.count(colour)
            if not row.any():
                raise ConfigError(
                    f"FakeEncoder knows only colours; {text!r} names none.",
                    remedy=f"Use {', '.join(self.COLOURS)}.",
                )
        return functional.normalize(rows, dim=-1)


class CountingEncoder(FakeEncoder):
    """A `FakeEncoder` that counts the batches of images it was given."""

    batches = 0

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Count, then encode."""
        self.batches += 1
        return super().encode_images(pixels)
