"""Scenes of pictographs scattered on a background, with their ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.boxes import intersection
from guardalign_middleware.mini.world.backgrounds import draw_background
from guardalign_middleware.mini.world.concepts import Concept
from guardalign_middleware.mini.world.sprites import STYLES, sprite
from guardalign_middleware.mini.world.strangers import Stranger, stranger_sprite
from guardalign_middleware.types import Box

_PLACEMENT_TRIES = 60
_LAYOUT_TRIES = 30


@dataclass(frozen=True)
class Item:
    """One pictograph in a scene; `box` is the sprite's square."""

    concept: Concept
    box: Box
    style: str


@dataclass(frozen=True)
class StrangerItem:
    """A stranger in a scene; `box` is the sprite's square, `hand` the style it is drawn in."""

    stranger: Stranger
    box: Box
    hand: str


@dataclass(frozen=True, eq=False)
class Scene:
    """A drawn picture, uint8 `[H, W, 3]`, and its items in drawing order; strangers apart."""

    pixels: NDArray[np.uint8]
    items: tuple[Item, ...]
    background: str
    strangers: tuple[StrangerItem, ...] = ()

    @property
    def unsafe_items(self) -> tuple[Item, ...]:
        """The items of an unsafe category."""
        return tuple(item for item in self.items if item.concept.unsafe)


def place_item(
    canvas: NDArray[np.float32],
    rgba: NDArray[np.float32],
    left: int,
    top: int,
    ink: NDArray[np.float32] | None = None,
) -> None:
    """Draw a sprite onto a canvas in place, clipped at the borders.

    Args:
        canvas: the picture to draw on, float32 `[H, W, 3]`.
        rgba: the sprite, float32 `[side, side, 4]`.
        left: left edge of the sprite in pixels; may be outside the canvas.
        top: top edge of the sprite in pixels; may be outside the canvas.
        ink: float32 `[3]`, replaces the sprite's own colour (for monochrome styles).
    """
    side = rgba.shape[0]
    height, width = canvas.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if x0 >= x1 or y0 >= y1:
        return
    part = rgba[y0 - top : y1 - top, x0 - left : x1 - left]
    alpha = part[..., 3:]
    color = part[..., :3] if ink is None else ink
    area = canvas[y0:y1, x0:x1]
    area += alpha * (color - area)


def contrasting_ink(rng: np.random.Generator, canvas: NDArray[np.float32]) -> NDArray[np.float32]:
    """A colour for silhouettes that contrasts with the picture's mean."""
    mean = canvas.mean(axis=(0, 1))
    for _ in range(20):
        ink = rng.uniform(0.0, 1.0, 3).astype(np.float32)
        if np.abs(ink - mean).max() > 0.45:
            return ink
    return np.zeros(3, dtype=np.float32)


def _free_spot(
    rng: np.random.Generator, taken: Sequence[Box], side: int, height: int, width: int
) -> tuple[int, int] | None:
    """A corner where a square of `side` touches no taken box; None if none is found."""
    for _ in range(_PLACEMENT_TRIES):
        left = int(rng.integers(0, width - side + 1))
        top = int(rng.integers(0, height - side + 1))
        box = (left, top, left + side, top + side)
        if not any(intersection(box, other) for other in taken):
            return left, top
    return None


def _layout(
    rng: np.random.Generator, sides: Sequence[tuple[int, int]], height: int, width: int
) -> list[Box]:
    """Boxes that do not touch, one for each smallest and largest side.

    A layout that does not fit is discarded and retried.
    """
    for _ in range(_LAYOUT_TRIES):
        boxes: list[Box] = []
        for smallest, largest in sides:
            side = int(rng.integers(smallest, largest + 1))
            spot = None
            if side <= min(height, width):
                spot = _free_spot(rng, boxes, side, height, width)
            if spot is None and smallest <= min(height, width):
                side = smallest
                spot = _free_spot(rng, boxes, side, height, width)
            if spot is None:
                break
            boxes.append((spot[0], spot[1], spot[0] + side, spot[1] + side))
        else:
            return boxes
    smallest_side = min(smallest for smallest, _ in sides)
    raise ValueError(
        f"{len(sides)} items of {smallest_side} px or more do not fit into {width}x{height}."
    )


def draw_scene(
    rng: np.random.Generator,
    concepts: Sequence[Concept],
    *,
    width: int,
    height: int,
    item_sides: tuple[int, int],
    backgrounds: Sequence[str],
    styles: Sequence[str] = ("noto",),
) -> Scene:
    """Draw each concept once, without overlaps, rotated by at most 12 degrees.

    Args:
        rng: the only source of randomness: equal generators draw equal scenes.
        concepts: the things to draw, placed in this order.
        width: width of the scene in pixels.
        height: height of the scene in pixels.
        item_sides: smallest and largest side of an item in pixels, both inclusive.
        backgrounds: names of background families to choose from.
        styles: drawing styles to choose from, one for the whole scene.

    Raises:
        ValueError: the items do not fit, or the style lacks one of them.
    """
    background = str(rng.choice(list(backgrounds)))
    style = str(rng.choice(list(styles)))
    canvas = draw_background(rng, background, height, width)
    sides = [item_sides] * len(concepts)
    return draw_things(rng, canvas, concepts, sides, style=style, background=background)


def draw_things(
    rng: np.random.Generator,
    canvas: NDArray[np.float32],
    things: Sequence[Concept | Stranger],
    sides: Sequence[tuple[int, int]],
    *,
    style: str,
    hand: str | None = None,
    background: str = "",
) -> Scene:
    """Draw things onto a canvas, in place, without overlaps, rotated by at most 12 degrees.

    Args:
        rng: the only source of randomness.
        canvas: float32 `[H, W, 3]` in [0, 1]; a photograph, for example.
        things: concepts and strangers, placed in this order: the largest should come first.
        sides: smallest and largest side of each thing in pixels, both inclusive.
        style: drawing style of the concepts.
        hand: of the strangers; None = `style`.
        background: what the canvas shows, for `Scene.background`.

    Raises:
        ValueError: the things do not fit, or the style lacks one of them.
    """
    height, width = canvas.shape[:2]
    boxes = _layout(rng, sides, height, width)
    items: list[Item] = []
    strangers: list[StrangerItem] = []
    for thing, box in zip(things, boxes, strict=True):
        side, angle = box[2] - box[0], int(rng.integers(-12, 13))
        if isinstance(thing, Stranger):
            strangers.append(StrangerItem(thing, box, hand or style))
            rgba = stranger_sprite(thing.name, hand or style, side, angle)
            ink = None
        else:
            items.append(Item(thing, box, style))
            rgba = sprite(thing.name, style, side, angle)
            ink = contrasting_ink(rng, canvas) if STYLES[style].monochrome else None
        place_item(canvas, rgba, box[0], box[1], ink)
    pixels = np.round(canvas * 255.0).astype(np.uint8)
    return Scene(pixels, tuple(items), background, tuple(strangers))
