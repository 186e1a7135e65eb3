"""Scenes on which the miniature detector is fitted and measured.

Cluttered ones with small things, ones in which a thing has a given size, and ones that hold nothing
but things that resemble.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.mini.world import (
    Concept,
    Scene,
    concepts_of_style,
    draw_background,
    draw_scene,
)
from guardalign_middleware.mini.world.scenes import draw_things
from guardalign_middleware.mini.world.strangers import Split, Stranger, strangers_of

SCENE_SIDES = (320, 640)
ITEM_SIDES = (34, 84)
ITEM_COUNTS = (4, 9)
_COMPANY = (30, 66)
"""Sides of the things that stand beside one of a given size."""


def draw_cluttered_scene(
    rng: np.random.Generator,
    *,
    unsafe: bool,
    backgrounds: Sequence[str],
    style: str = "noto",
    strangers: Split | None = None,
    hand: str | None = None,
) -> Scene:
    """A scene of 320–640 px with 4–9 things of 34–84 px; with `unsafe`, exactly one is unsafe.

    Args:
        rng: the only source of randomness.
        unsafe: whether one thing is unsafe.
        backgrounds: names of background families to choose from.
        style: drawing style of the concepts.
        strangers: with a split, a third to a half of the harmless things are its strangers.
        hand: in which the strangers are drawn; None = `style`.
    """
    concepts = concepts_of_style(style)
    safe = [concept for concept in concepts if not concept.unsafe]
    harmful = [concept for concept in concepts if concept.unsafe]
    count = int(rng.integers(ITEM_COUNTS[0], ITEM_COUNTS[1] + 1))
    chosen = [safe[i] for i in rng.choice(len(safe), count - unsafe, replace=False)]
    if unsafe:
        chosen.insert(0, harmful[int(rng.integers(len(harmful)))])
    width, height = (int(side) for side in rng.integers(SCENE_SIDES[0], SCENE_SIDES[1] + 1, 2))
    if strangers is None:
        return draw_scene(
            rng,
            chosen,
            width=width,
            height=height,
            item_sides=ITEM_SIDES,
            backgrounds=backgrounds,
            styles=(style,),
        )
    foreign = int(rng.integers((count + 2) // 3, (count + 1) // 2 + 1))
    things = [*chosen[: count - foreign], *pick_strangers(rng, foreign, strangers, hand or style)]
    background = str(rng.choice(list(backgrounds)))
    canvas = draw_background(rng, background, height, width)
    sides = [ITEM_SIDES] * count
    return draw_things(rng, canvas, things, sides, style=style, hand=hand, background=background)


def pick_strangers(
    rng: np.random.Generator,
    count: int,
    split: Split,
    hand: str,
    kinds: Sequence[str] | None = None,
) -> list[Stranger]:
    """Strangers that a hand has drawn, each once unless there are too few.

    Args:
        rng: the source of randomness.
        count: how many.
        split: what they are used for.
        hand: one of `HANDS`.
        kinds: only of these kinds; None = of all.

    Raises:
        ValueError: the hand has drawn none of them.
    """
    drawn = [each for each in strangers_of(hand, split) if kinds is None or each.kind in kinds]
    if not drawn:
        raise ValueError(f"The hand {hand!r} has drawn none of the {split!r} strangers of {kinds}.")
    return [drawn[i] for i in rng.choice(len(drawn), count, replace=count > len(drawn))]


def draw_sized_scene(
    rng: np.random.Generator,
    canvas: NDArray[np.float32],
    *,
    side: int,
    unsafe: bool,
    style: str = "noto",
    strangers: Split | None = None,
    hand: str | None = None,
    background: str = "",
) -> Scene:
    """One thing of a given size, with up to three harmless things of 30–66 px where they fit.

    Args:
        rng: the only source of randomness.
        canvas: what to draw on, float32 `[H, W, 3]` in [0, 1]; drawn on in place.
        side: side of the first thing in pixels; at most the canvas's shorter side is drawn.
        unsafe: whether the first thing is unsafe; otherwise it is a harmless concept or a stranger.
        style: drawing style of the concepts.
        strangers: with a split, the other things are its strangers, half of them on average.
        hand: in which the strangers are drawn; None = `style`.
        background: what the canvas shows, for `Scene.background`.
    """
    concepts = [each for each in concepts_of_style(style) if bool(each.unsafe) == unsafe]
    harmless = [each for each in concepts_of_style(style) if not each.unsafe]
    first: Concept | Stranger = concepts[int(rng.integers(len(concepts)))]
    if strangers is not None and not unsafe and rng.random() < 0.5:
        first = pick_strangers(rng, 1, strangers, hand or style)[0]
    others: list[Concept | Stranger] = []
    for _ in range(_room_beside(rng, side, *canvas.shape[:2])):
        if strangers is not None and rng.random() < 0.5:
            others += pick_strangers(rng, 1, strangers, hand or style)
        else:
            others.append(harmless[int(rng.integers(len(harmless)))])
    return draw_things(
        rng,
        canvas,
        [first, *others],
        [(min(side, *canvas.shape[:2]),) * 2, *[_COMPANY] * len(others)],
        style=style,
        hand=hand,
        background=background,
    )


def _room_beside(rng: np.random.Generator, side: int, height: int, width: int) -> int:
    """Number of other things, up to three: none where a strip of 30 px may not stay free."""
    free = max(width, height) - side
    return int(rng.integers(0, 4)) if free >= 3 * _COMPANY[0] else 0
