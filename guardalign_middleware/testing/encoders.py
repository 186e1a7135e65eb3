"""An encoder without a model: it sees colours and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from guardalign_middleware.errors import ConfigError


class FakeEncoder:
    """An `ImageTextEncoder` that sees nothing but colour, so that tests can plant something.

    A picture is embedded as its share of red, green, blue, yellow, white, black and grey pixels,
    scaled to length 1; a text as the sum of the colours it names. So a saturated red square is near
    the anchor "red", and the larger its share of a crop, the nearer.

    Raises:
        ConfigError: a text names no colour.
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
        """The colours each text names, `[N, 7]`."""
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
