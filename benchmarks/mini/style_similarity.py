"""How similar the coloured drawing styles are: `python -m benchmarks.mini.style_similarity`.

Figures of a held-out style mean something only if no training style has the same drawings. Two
drawings of a thing are compared by the correlation of their pixels on grey.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from guardalign_middleware.mini.world import STYLES, concepts_of_style, sprite

_SIDE = 48
COLORED = tuple(name for name, style in STYLES.items() if not style.monochrome)


def _drawing(name: str, style: str) -> NDArray[np.float32]:
    """The pictograph's pixels on grey, with mean 0 and norm 1."""
    rgba = sprite(name, style, _SIDE)
    opacity = rgba[..., 3:]
    pixels = (rgba[..., :3] * opacity + 0.5 * (1 - opacity)).ravel()
    pixels -= pixels.mean()
    normalized: NDArray[np.float32] = pixels / np.linalg.norm(pixels)
    return normalized


@cache
def _drawings(style: str) -> dict[str, NDArray[np.float32]]:
    return {concept.name: _drawing(concept.name, style) for concept in concepts_of_style(style)}


def similarities(style: str, others: tuple[str, ...]) -> list[float]:
    """Correlation of each drawing of a style with the most similar one of the same thing.

    Args:
        style: the style.
        others: the styles compared with it; things that they all lack are left out.
    """
    drawings = [_drawings(other) for other in others]
    return [
        max(float(drawing @ theirs[name]) for theirs in drawings if name in theirs)
        for name, drawing in _drawings(style).items()
        if any(name in theirs for theirs in drawings)
    ]


def main() -> None:
    """Command line."""
    table = Table(title="correlation with the most similar drawing in another style")
    for column in ("style", "things", "median", "largest"):
        table.add_column(column)
    for style in COLORED:
        found = similarities(style, tuple(other for other in COLORED if other != style))
        held_out = " (never trained on)" if STYLES[style].held_out else ""
        row = (len(found), f"{np.median(found):.2f}", f"{max(found):.2f}")
        table.add_row(f"{style}{held_out}", *map(str, row))
    Console().print(table)


if __name__ == "__main__":
    main()
