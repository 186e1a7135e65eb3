"""Cluttered scenes with small things, on which the miniature detector is fitted and measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guardalign_middleware.mini.world import Scene, concepts_of_style, draw_scene

SCENE_SIDES = (320, 640)
ITEM_SIDES = (34, 84)
ITEM_COUNTS = (4, 9)


def draw_cluttered_scene(
    rng: np.random.Generator,
    *,
    unsafe: bool,
    backgrounds: Sequence[str],
    style: str = "noto",
) -> Scene:
    """A scene of 320–640 px with 4–9 things of 34–84 px; with `unsafe`, exactly one is unsafe."""
    concepts = concepts_of_style(style)
    safe = [concept for concept in concepts if not concept.unsafe]
    harmful = [concept for concept in concepts if concept.unsafe]
    count = int(rng.integers(ITEM_COUNTS[0], ITEM_COUNTS[1] + 1))
    chosen = [safe[i] for i in rng.choice(len(safe), count - unsafe, replace=False)]
    if unsafe:
        chosen.insert(0, harmful[int(rng.integers(len(harmful)))])
    width, height = (int(side) for side in rng.integers(SCENE_SIDES[0], SCENE_SIDES[1] + 1, 2))
    return draw_scene(
        rng,
        chosen,
        width=width,
        height=height,
        item_sides=ITEM_SIDES,
        backgrounds=backgrounds,
        styles=(style,),
    )
