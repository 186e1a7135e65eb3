"""Sizes that hosted models see of a picture, by the rules that their providers document.

Nothing is measured: what a provider does behind its interface is not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from guardalign_middleware.config import Sight

Size = tuple[int, int]
"""Width and height, in pixels."""


@dataclass(frozen=True)
class Hosted:
    """A documented way of making a picture smaller.

    Attributes:
        sight: the value of `detection.sees` for the provider.
        models: those that do it.
        size: width and height, for a picture of a width and a height.
    """

    sight: Sight
    models: str
    size: Callable[[int, int], Size]


def boxed(width: int, height: int, *, long_side: int, short_side: int | None = None) -> Size:
    """Made smaller until both sides fit; None = the shorter side is free."""
    scale = min(1.0, long_side / max(width, height))
    if short_side is not None:
        scale = min(scale, short_side / min(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def openai_patches(width: int, height: int, *, most: int) -> Size:
    """At most so many patches of 32 pixels, whole ones along the side that decides."""
    if math.ceil(width / 32) * math.ceil(height / 32) <= most:
        return width, height
    scale = math.sqrt(32 * 32 * most / (width * height))
    across, down = width * scale / 32, height * scale / 32
    scale *= min(math.floor(across) / across, math.floor(down) / down)
    return int(width * scale + 1e-6), int(height * scale + 1e-6)


def claude(width: int, height: int, *, long_side: int, tokens: int) -> Size:
    """The largest size within a side and a number of 28-pixel tokens."""
    longest = min(long_side, max(width, height))
    for side in range(longest, 0, -1):
        scale = side / max(width, height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        if math.ceil(size[0] / 28) * math.ceil(size[1] / 28) <= tokens:
            return size
    return 1, 1


HOSTED = (
    Hosted("openai", "GPT-4o, 4.1, o-series", partial(boxed, long_side=2048, short_side=768)),
    Hosted("openai", "1,536 patches", partial(openai_patches, most=1_536)),
    Hosted("openai", "2,500 patches", partial(openai_patches, most=2_500)),
    Hosted("openai", "10,000 patches (original)", partial(openai_patches, most=10_000)),
    Hosted("anthropic", "Claude", partial(claude, long_side=1568, tokens=1_568)),
    Hosted("anthropic", "Opus 4.7 and later", partial(claude, long_side=2576, tokens=4_784)),
    Hosted("gemini", "Gemini", partial(boxed, long_side=3072)),
)
"""The ways that the facts of 2026 name; more are in the providers' documentation."""
