"""Scenes of coloured squares, and concepts for an encoder that sees only colours."""

from __future__ import annotations

import numpy as np

from guardalign_middleware.detection.anchors import AnchorBank
from guardalign_middleware.types import Box, CanonicalImage

COLOUR_BANK = AnchorBank(
    categories={"fire": ("red", "red red grey"), "toxic": ("yellow",)},
    neutral={"sky": ("blue",), "grass": ("green", "green grey"), "wall": ("grey", "white")},
)


def scene(width: int, height: int, squares: dict[Box, tuple[int, int, int]]) -> CanonicalImage:
    """Grey with coloured rectangles."""
    pixels = np.full((height, width, 3), 127, dtype=np.uint8)
    for (x0, y0, x1, y1), colour in squares.items():
        pixels[y0:y1, x0:x1] = colour
    return CanonicalImage(pixels)
