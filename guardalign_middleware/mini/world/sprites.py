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


class Atlas:
    """A picture of cells, sixteen per row, in the order of the names.

    Args:
        file: PNG; in grey, it holds the opacity of black drawings.
        names: one for each cell.
        side: side of a cell in pixels.
    """

    def __init__(self, file: Path, names: tuple[str, ...], side: int) -> None:
        with Image.open(file) as opened:
            atlas: Image.Image = opened.copy()
        if atlas.mode == "L":
            alpha = atlas
            atlas = Image.new("RGBA", alpha.size)
            atlas.putalpha(alpha)
        atlas = atlas.convert("RGBA")
        self._cells: dict[str, Image.Image | None] = {}
        for index, name in enumerate(names):
            left, top = (index % COLUMNS) * side, (index // COLUMNS) * side
            cell = atlas.crop((left, top, left + side, top + side))
            self._cells[name] = cell if cell.getchannel("A").getbbox() else None

    def cell(self, name: str) -> Image.Image | None:
        """The RGBA drawing; None for an empty cell."""
        return self._cells[name]


@cache
def _atlas(style: str) -> Atlas:
    names = tuple(concept.name for concept in CONCEPTS)
    return Atlas(ATLAS_FOLDER / f"{style}.png", names, STYLES[style].side)


@cache
def concepts_of_style(style: str) -> tuple[Concept, ...]:
    """The concepts that a style contains."""
    return tuple(concept for concept in CONCEPTS if _atlas(style).cell(concept.name) is not None)


@lru_cache(maxsize=4_096)
def _turned(name: str, style: str, angle: int) -> Image.Image | None:
    cell = _atlas(style).cell(name)
    return None if cell is None else turned(cell, angle)


def turned(cell: Image.Image, angle: int) -> Image.Image:
    """A rotated cell, premultiplied, so that resizing mixes in no colour of transparent pixels."""
    if angle:
        cell = cell.rotate(angle, resample=Image.Resampling.BICUBIC)
    return cell.convert("RGBa")


def scaled(premultiplied: Image.Image, side: int) -> NDArray[np.float32]:
    """A premultiplied cell as read-only float32 `[side, side, 4]` in [0, 1], not premultiplied."""
    drawn = premultiplied.resize((side, side), Image.Resampling.BICUBIC).convert("RGBA")
    pixels = np.asarray(drawn, dtype=np.float32) / 255.0
    pixels.flags.writeable = False
    return pixels


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
    return scaled(cell, side)
