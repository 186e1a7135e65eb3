"""The mix of scenes that the shipped profile is fitted on, and measured on with other seeds.

A profile keeps its promise on pictures of the kind that it was fitted on. So the mix holds what
the benchmark reports: things from 16 px to the whole picture, drawn backgrounds and photographs,
several hands, strangers that only resemble, and pictures that were resized, turned, made grey or
covered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.evaluation.attacks import ATTACKS, Target
from guardalign_middleware.mini.clutter import draw_cluttered_scene, draw_sized_scene
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS, Scene, draw_background
from guardalign_middleware.mini.world.strangers import Split
from guardalign_middleware.types import Box, CanonicalImage
from training.photographs import installed, photograph

SIDES = (16, 24, 36, 60, 90, 150, 220, 300)
CANVASES = ((360, 270), (480, 320))
"""Width and height of the pictures in which a thing has one of `SIDES`."""
_STYLES = {"noto": 0.6, "fluent": 0.1, "twemoji": 0.1, "blob": 0.1, "firefox": 0.1}
_FOREIGN_HAND = "openmoji"
"""Drew nothing that the encoder was trained on."""
_CHANGES = {
    "none": 0.5,
    "enlarged ×2": 0.04,
    "enlarged ×4": 0.04,
    "enlarged ×6": 0.02,
    "stretched ×2, wide": 0.02,
    "stretched ×2, high": 0.02,
    "stretched ×4, wide": 0.02,
    "stretched ×4, high": 0.02,
    "stretched ×8, wide": 0.02,
    "stretched ×8, high": 0.02,
    "squashed to 256×64": 0.04,
    "turned by 90 degrees": 0.04,
    "turned by 180 degrees": 0.04,
    "turned by 270 degrees": 0.04,
    "grey": 0.06,
    "half covered": 0.06,
}


@dataclass(frozen=True, eq=False)
class MixedScene:
    """A picture of the mix.

    Attributes:
        image: the picture.
        boxes: of its unsafe things; of a harmless one where nothing is unsafe.
        change: what happened to it, a key of `ATTACKS` or "none".
        background: a background family or "photograph".
    """

    image: CanonicalImage
    boxes: tuple[Box, ...]
    change: str
    background: str


def draw_mixed_scene(rng: np.random.Generator, *, unsafe: bool, split: Split) -> MixedScene:
    """A picture of the mix; with `unsafe`, exactly one thing in it is unsafe.

    Args:
        rng: the only source of randomness.
        unsafe: whether one thing is unsafe.
        split: half of the pictures hold strangers of this split.
    """
    style = _picked(rng, _STYLES)
    hand = _FOREIGN_HAND if rng.random() < 0.15 else style
    strangers = split if rng.random() < 0.5 else None
    if rng.random() < 0.4:
        scene = draw_cluttered_scene(
            rng,
            unsafe=unsafe,
            backgrounds=HELD_OUT_BACKGROUNDS,
            style=style,
            strangers=strangers,
            hand=hand,
        )
    else:
        canvas, background = draw_canvas(rng, *CANVASES[int(rng.integers(len(CANVASES)))])
        scene = draw_sized_scene(
            rng,
            canvas,
            side=SIDES[int(rng.integers(len(SIDES)))],
            unsafe=unsafe,
            style=style,
            strangers=strangers,
            hand=hand,
            background=background,
        )
    change = _picked(rng, _CHANGES)
    target = target_of(scene)
    if change != "none":
        target = changed(target, change, rng)
    return MixedScene(target.image, target.boxes, change, scene.background)


def draw_canvas(
    rng: np.random.Generator, width: int, height: int
) -> tuple[NDArray[np.float32], str]:
    """A held-out background or, in one of three cases, a photograph; and which of them it is."""
    if rng.random() < 1 / 3:
        photographs = installed()
        path = photographs[int(rng.integers(len(photographs)))]
        return photograph(rng, path, width, height), "photograph"
    family = str(rng.choice(HELD_OUT_BACKGROUNDS))
    return draw_background(rng, family, height, width), family


def target_of(scene: Scene) -> Target:
    """The scene with the boxes of its unsafe things; of one thing where nothing is unsafe."""
    boxes = tuple(item.box for item in scene.unsafe_items)
    drawn = [item.box for item in scene.items] + [each.box for each in scene.strangers]
    return Target(CanonicalImage(scene.pixels), boxes or (drawn[0],))


def changed(target: Target, change: str, rng: np.random.Generator) -> Target:
    """The target after one of `ATTACKS` that needs no crops of a detector."""
    return ATTACKS[change](target, _no_crops, rng)


def _no_crops(_width: int, _height: int) -> NDArray[np.int64]:
    raise ValueError("This change needs the crops of a detector. Use one that needs none.")


def _picked(rng: np.random.Generator, shares: Mapping[str, float]) -> str:
    names, odds = list(shares), np.array(list(shares.values()))
    return names[int(rng.choice(len(names), p=odds / odds.sum()))]
