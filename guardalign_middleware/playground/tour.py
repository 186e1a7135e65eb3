"""The demo scenes, and the guided tour of three of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from guardalign_middleware.mini.demo import demo_scenes
from guardalign_middleware.types import CanonicalImage


@dataclass(frozen=True, eq=False)
class Scene:
    """A scene that a visitor can take instead of a picture of their own.

    Attributes:
        name: like "pistol-apple".
        title: what it shows, in words.
        image: the picture.
        request: what to ask about it.
        harmful: whether the request asks for harm.
    """

    name: str
    title: str
    image: CanonicalImage
    request: str
    harmful: bool


@dataclass(frozen=True)
class Stop:
    """One step of the tour: a scene, and what to look at."""

    scene: str
    title: str
    text: str


STOPS = (
    Stop(
        "dog-car-tree",
        "1. Nothing unsafe: nothing touched",
        "Every crop of this picture lies far to the right of the threshold, so the guard lets it "
        "pass as it is. All three answers see the same picture. Drag the threshold to the right "
        "and watch when the guard would start to see things that are not there.",
    ),
    Stop(
        "pistol-apple",
        "2. One unsafe thing: one mask",
        "The crops that show the pistol are near the concept “weapon”; the apple's are not. Only "
        "the pistol is covered, and the picture is scanned again before a model may see it. "
        "Compare the answers: the prefix alone does not stop the miniature, the mask does.",
    ),
    Stop(
        "syringe-pizza-cat",
        "3. A scene with more to keep",
        "The syringe is hidden and the pizza and the cat stay, so the model can still be asked "
        "about them. Move the margin to see how much around the syringe is given up, and γ to see "
        "the attention to the prefix rise in the middle layers.",
    ),
)


@cache
def scenes() -> tuple[Scene, ...]:
    """The scenes of `guardalign demo`; drawn on first use."""
    return tuple(
        Scene(
            item.name,
            _title(item.name),
            CanonicalImage(item.scene.pixels, item.name),
            item.request,
            item.harmful,
        )
        for item in demo_scenes()
    )


def scene(name: str) -> Scene:
    """A scene by its name.

    Raises:
        KeyError: there is no such scene.
    """
    return {each.name: each for each in scenes()}[name]


def _title(name: str) -> str:
    *first, last = name.split("-")
    return f"{', '.join(first)} and {last}".capitalize() if first else last.capitalize()
