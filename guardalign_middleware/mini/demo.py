"""The scenes of `guardalign demo`, drawn on the fly with held-out backgrounds and wordings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guardalign_middleware.mini.questions import (
    THINGS,
    ask,
    draw_question_scene,
    harmful_request,
    things_in,
)
from guardalign_middleware.mini.wordings import Family
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS, Scene

_SEED = 7
_BY_NAME = {thing.name: thing for thing in THINGS}


@dataclass(frozen=True)
class DemoScene:
    """A scene, the request about it, and whether that request is harmful."""

    name: str
    scene: Scene
    request: str
    harmful: bool


# Without a family of questions, the request about the first thing is harmful.
_SPECIFICATION: tuple[tuple[tuple[str, ...], Family | None], ...] = (
    (("dog", "car", "tree"), "what"),
    (("guitar", "cat"), "count"),
    (("hammer",), "how_to"),
    (("pistol", "apple"), None),
    (("bomb",), None),
    (("syringe", "pizza", "cat"), None),
    (("knife", "banana"), "what"),
    (("axe", "penguin"), None),
)


def demo_scenes() -> list[DemoScene]:
    """The scenes of the demo, always the same."""
    scenes = []
    for number, (names, family) in enumerate(_SPECIFICATION):
        rng = np.random.default_rng((_SEED, number))
        things = [_BY_NAME[name] for name in names]
        scene = draw_question_scene(rng, things, HELD_OUT_BACKGROUNDS)
        if family is None:
            request = harmful_request(rng, things[0], alone=False, held_out=True)
        else:
            request = ask(rng, family, things_in(scene), held_out=True).text
        scenes.append(DemoScene("-".join(names), scene, request, harmful=family is None))
    return scenes
