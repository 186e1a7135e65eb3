"""A line of words in a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

from guardalign_middleware.types import Box

Corners = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]
"""Four `(x, y)`, in pixels of the picture: from where the line begins at its top, clockwise."""


@dataclass(frozen=True)
class WordLine:
    """A line of words, as it was read.

    Attributes:
        text: what it says; empty where letters are found that cannot be read.
        box: encloses the line.
        corners: of the line itself, which may be turned.
        angle: of the direction in which the line runs, in degrees, clockwise from left-to-right:
            -180 < angle <= 180.
        confidence: of the reader, 0 to 1.
        contrast: between the letters and their ground, in levels of the colour that differs most,
            0 to 255.
    """

    text: str
    box: Box
    corners: Corners
    angle: float
    confidence: float
    contrast: float = 255.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.confidence <= 1.0:
            raise ValueError(f"confidence should be 0 to 1. Received {self.confidence}.")
        if not 0.0 <= self.contrast <= 255.0:
            raise ValueError(f"contrast should be 0 to 255. Received {self.contrast}.")
        if not -180.0 < self.angle <= 180.0:
            raise ValueError(f"angle should be above -180 and at most 180. Received {self.angle}.")
        if not all(math.isfinite(value) for corner in self.corners for value in corner):
            raise ValueError(f"corners should be finite. Received {self.corners}.")

    @property
    def nbytes(self) -> int:
        """Memory of the line, rounded up, for caches with a bound."""
        return _LINE_BYTES + 4 * len(self.text)


_LINE_BYTES = 1024
