"""Sprites of the concepts in several drawing styles, cut from the shipped atlases."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from guardalign_middleware.mini.world.concepts import CONCEPTS, Concept

ATLAS_FOLDER = Path(__file__).parent / "atlas"
COLUMNS = 16


@dataclass(frozen=True)
class Style:
    """A drawing style.

    Attributes:
        side: side of its atlas cells, in pixels.
        monochrome: whether its drawings are silhouettes.
        held_out: whether it is never used in training.
    """

    side: int
    monochrome: bool
    held_out: bool


STYLES: dict[str, Style] = {
    "noto": Style(side=96, monochrome=False, held_out=False),
    "symbola": Style(side=96, monochrome=True, held_out=False),
    "unifont": Style(side=64, monochrome=True, held_out=False),
    "icons": Style(side=64, monochrome=True, held_out=False),
    "fluent": Style(side=64, monochrome=False, held_out=False),
    "twemoji": Style(side=64, monochrome=False, held_out=False),
    "blob": Style(side=64, monochrome=False, held_out=False),
    "firefox": Style(side=64, monochrome=False, held_out=False),
    "emojione": Style(side=64, monochrome=False, held_out=True),
}
"""`emojione` is never trained on; it measures how well the models generalise to a new style."""


@cache
def _cells(style: str) -> tuple[Image.Image | None, ...]:
    """One RGBA picture per concept, black if monochrome, and None if the style lacks it."""
    side = STYLES[style].side
    with Image.open(ATLAS_FOLDER / f"{style}.png") as file:
        atlas: Image.Image = file.copy()
    if STYLES[style].monochrome:
        alpha = atlas.convert("L")
        atlas = Image.new("RGBA", alpha.size)
        atlas.putalpha(alpha)
    else:
        atlas = atlas.convert("RGBA")
    cells: list[Image.Image | None] = []
    for index in range(len(CONCEPTS)):
        left, top = (index % COLUMNS) * side, (index // COLUMNS) * side
        cell = atlas.crop((left, top, left + side, top + side))
        cells.append(cell if cell.getchannel("A").getbbox() else None)
    return tuple(cells)


@cache
def _index() -> dict[str, int]:
    return {concept.name: index for index, concept in enumerate(CONCEPTS)}


@cache
def concepts_of_style(style: str) -> tuple[Concept, ...]:
    """The concepts that a style contains."""
    return tuple(
        concept for concept, cell in zip(CONCEPTS, _cells(style), strict=True) if cell is not None
    )


@lru_cache(maxsize=4_096)
def _turned(name: str, style: str, angle: int) -> Image.Image | None:
    """A rotated cell, premultiplied, so that resizing mixes in no colour of transparent pixels."""
    cell = _cells(style)[_index()[name]]
    if cell is None:
        return None
    if angle:
        cell = cell.rotate(angle, resample=Image.Resampling.BICUBIC)
    return cell.convert("RGBa")


@lru_cache(maxsize=40_000)
def sprite(name: str, style: str, side: int, angle: int = 0) -> NDArray[np.float32]:
    """The pictograph as float32 `[side, side, 4]` in [0, 1], not premultiplied.

    Args:
        name: a concept's name.
        style: a key of `STYLES`.
        side: side of the sprite in pixels.
        angle: rotation in degrees, counter-clockwise; corners may be cut off.

    Raises:
        ValueError: the style has no such pictograph.
    """
    cell = _turned(name, style, angle)
    if cell is None:
        raise ValueError(f"The style {style!r} has no pictograph for {name!r}.")
    resized = cell.resize((side, side), Image.Resampling.BICUBIC).convert("RGBA")
    pixels = np.asarray(resized, dtype=np.float32) / 255.0
    pixels.flags.writeable = False
    return pixels
