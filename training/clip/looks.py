"""Looks of a thing: its pictographs in the training styles, with random changes.

A small model mistakes the shading and colours of one font for the thing. Drawings are therefore
rotated, stretched and bent, which changes their proportions. More than half of them also lose
everything but their shape: colours are exchanged, gradients flattened to a few fills, inner lines
or outlines added, the ink thickened or thinned. Most line drawings are coloured in, because colour
should not reveal the font. Looks are numbered and cached.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from guardalign_middleware.mini.world import STYLES, concepts_of_style, sprite
from guardalign_middleware.mini.world.strangers import stranger_sprite, strangers_of
from training.clip.redrawing import SIDE, Pixels, bent, colored_in, redrawn, warped, weighted
from training.icon_strangers import icon_stranger, icon_strangers

_LOOKS = 80
_LOOKS_OF_ICON = 8
_STRANGER = "stranger: "
_ICON = "icon: "
_ICON_SHARE = 0.45
"""Of the strangers of a coloured style that are icons, coloured in, instead."""


@dataclass(frozen=True)
class StyleVariant:
    """A training style, unchanged or, if it is monochrome, coloured in."""

    style: str
    colored: bool = False

    @property
    def inked(self) -> bool:
        """Whether the drawing is monochrome, and coloured when it is placed."""
        return STYLES[self.style].monochrome and not self.colored


# The detector is measured on Noto, so it stays the most frequent style.
_VARIANT_ODDS = {
    StyleVariant("noto"): 0.34,
    StyleVariant("fluent"): 0.10,
    StyleVariant("twemoji"): 0.10,
    StyleVariant("blob"): 0.10,
    StyleVariant("firefox"): 0.08,
    StyleVariant("symbola"): 0.05,
    StyleVariant("symbola", colored=True): 0.07,
    StyleVariant("unifont"): 0.03,
    StyleVariant("unifont", colored=True): 0.05,
    StyleVariant("icons"): 0.04,
    StyleVariant("icons", colored=True): 0.04,
}
_VARIANTS = tuple(_VARIANT_ODDS)
_VARIANT_EDGES = np.cumsum(list(_VARIANT_ODDS.values()))


def draw_variant(rng: np.random.Generator) -> StyleVariant:
    """A random variant; its style is never held out."""
    return _VARIANTS[int(np.searchsorted(_VARIANT_EDGES[:-1], rng.random(), side="right"))]


@cache
def _choices(style: str) -> tuple[list[str], NDArray[np.float64]]:
    """Concept names of a style, and their cumulative odds; unsafe ones are four times as likely."""
    concepts = concepts_of_style(style)
    odds = np.array([4.0 if concept.unsafe else 1.0 for concept in concepts])
    return [concept.name for concept in concepts], np.cumsum(odds / odds.sum())


def draw_name(rng: np.random.Generator, style: str) -> str:
    """A random concept that the style has."""
    names, odds = _choices(style)
    return names[int(np.searchsorted(odds[:-1], rng.random(), side="right"))]


def draw_look(rng: np.random.Generator, name: str, variant: StyleVariant, side: int) -> Pixels:
    """A random look of the thing: float32 `[side, side, 4]`, not premultiplied."""
    looks = _LOOKS_OF_ICON if name.startswith(_ICON) else _LOOKS
    picture = _look(name, variant, int(rng.integers(looks)))
    resized = picture.resize((side, side), Image.Resampling.BICUBIC).convert("RGBA")
    rgba = np.asarray(resized, dtype=np.float32) / np.float32(255)
    if rng.random() < 0.3:
        rgba = rgba[:, ::-1]
    if rng.random() < 0.4 and not variant.inked:
        rgba = rgba.copy()
        rgb = rgba[..., :3]
        rgb *= np.float32(rng.uniform(0.8, 1.15))
        rgb += rng.uniform(-0.1, 0.1, 3 if rng.random() < 0.5 else 1).astype(np.float32)
        np.clip(rgb, 0, 1, out=rgb)
    return rgba


def draw_stranger(rng: np.random.Generator, variant: StyleVariant) -> tuple[str, StyleVariant]:
    """A random stranger of the training split, as a name for `draw_look`, and its variant.

    Emoji strangers are drawn by the coloured styles only; the others get icons.
    """
    if variant.inked or variant.colored or rng.random() < _ICON_SHARE:
        icons = icon_strangers()
        name = _ICON + icons[int(rng.integers(len(icons)))]
        return name, StyleVariant("icons", colored=not variant.inked)
    names = _strangers(variant.style)
    return names[int(rng.integers(len(names)))], variant


@cache
def _strangers(style: str) -> tuple[str, ...]:
    return tuple(_STRANGER + each.name for each in strangers_of(style, "trained"))


def _cell(name: str, style: str) -> Image.Image:
    if name.startswith(_ICON):
        cell = icon_stranger(name.removeprefix(_ICON))
        return cell.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    if name.startswith(_STRANGER):
        drawn = stranger_sprite(name.removeprefix(_STRANGER), style, SIDE)
    else:
        drawn = sprite(name, style, SIDE)
    return Image.fromarray(np.round(drawn * 255).astype(np.uint8))


@cache
def _look(name: str, variant: StyleVariant, number: int) -> Image.Image:
    """Look number `number`, premultiplied: resizing then bleeds no colour of transparent pixels."""
    key = f"{variant.style}/{variant.colored}/{name}"
    rng = np.random.default_rng((zlib.crc32(key.encode()), number))
    cell = _cell(name, variant.style)
    if variant.colored:
        cell = colored_in(rng, cell, _palette(rng, name))
    elif rng.random() < 0.6 and not variant.inked:
        cell = redrawn(rng, cell)
    if rng.random() < 0.2:
        cell = weighted(rng, cell)
    if rng.random() < 0.6:
        cell = bent(rng, cell)
    return warped(rng, cell).convert("RGBa")


def _palette(rng: np.random.Generator, name: str) -> Pixels:
    """Four colours `[4, 3]`, taken from the thing in Noto or random."""
    if rng.random() < 0.4:
        return rng.uniform(0, 1, (4, 3)).astype(np.float32)
    if name.startswith(_ICON):  # no hand drew it in colours: those of another stranger
        names = _strangers("noto")
        name = names[int(rng.integers(len(names)))]
    rgba = np.asarray(_cell(name, "noto"), dtype=np.float32) / np.float32(255)
    opaque = rgba[rgba[..., 3] > 0.5][:, :3]
    drawn: Pixels = opaque[rng.integers(0, len(opaque), 4)]
    return drawn
