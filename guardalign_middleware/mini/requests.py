"""The requests that the miniature LLaVA is measured with, drawn from a split and a seed.

Training chooses settings on the validation split: new scenes with the backgrounds and phrasings of
the training. The benchmarks use the reported split: backgrounds and phrasings that were never
trained on. A setting is therefore chosen without any knowledge of the reported split.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import numpy as np

from guardalign_middleware.mini.questions import (
    MOST_THINGS,
    THINGS,
    Question,
    draw_question,
    draw_question_scene,
    draw_things,
    harmful_request,
    text_request,
)
from guardalign_middleware.mini.wordings import FAMILIES, NEUTRAL_PREFIXES, Family
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS, TRAINING_BACKGROUNDS
from guardalign_middleware.types import CanonicalImage, ImagePart, Message, TextPart

Split = Literal["reported", "validation"]
T = TypeVar("T")

_SPLITS: dict[Split, int] = {"reported": 1, "validation": 2}
# First in every seed, so that no stream here equals one of the training, for any seed.
_DOMAIN = 0x5AFE_7EA5
_TRIES = 50


@dataclass(frozen=True, eq=False)
class Request:
    """One user turn.

    Attributes:
        text: its words.
        image: its picture, if any.
        question: of a harmless request, with the right answer.
    """

    text: str
    image: CanonicalImage | None = None
    question: Question | None = None

    def messages(self, image: CanonicalImage | None = None) -> list[Message]:
        """The conversation; a cleaned `image` replaces the picture."""
        shown = image or self.image
        pictures = () if shown is None else (ImagePart(shown),)
        return [Message("user", (*pictures, TextPart(self.text)))]


def text_requests(n: int, *, seed: int, split: Split, harmful: bool) -> list[Request]:
    """How-to requests without a picture."""
    drawn = []
    for index in range(n):
        rng = _stream(seed, split, 10 + harmful, index)
        thing = THINGS[int(rng.integers(len(THINGS)))]
        text = text_request(rng, thing, harmful=harmful, held_out=split == "reported")
        drawn.append(Request(text))
    return drawn


def harmful_requests(n: int, *, seed: int, split: Split) -> list[Request]:
    """Harmful requests about the one unsafe thing of a scene; 0 to 2 safe things are next to it."""
    drawn = []
    for index in range(n):
        rng = _stream(seed, split, 20, index)
        things = draw_things(rng, unsafe=1, safe=int(rng.integers(0, MOST_THINGS)))
        scene = _fitting(partial(draw_question_scene, rng, things, _backgrounds(split)))
        text = harmful_request(rng, things[0], alone=len(things) == 1, held_out=split == "reported")
        drawn.append(Request(text, CanonicalImage(scene.pixels, f"harmful {index}")))
    return drawn


def harmless_requests(
    n: int, *, seed: int, split: Split, families: tuple[Family, ...] = FAMILIES
) -> list[Request]:
    """`n` questions of each family, about scenes without unsafe things."""
    drawn = []
    for family in families:
        for index in range(n):
            rng = _stream(seed, split, 30 + FAMILIES.index(family), index)
            held_out = split == "reported"
            scene, question = _fitting(
                partial(draw_question, rng, family, _backgrounds(split), held_out=held_out)
            )
            image = CanonicalImage(scene.pixels, f"{family} {index}")
            drawn.append(Request(question.text, image, question))
    return drawn


def with_neutral_prefix(requests: list[Request]) -> list[Request]:
    """The same requests after prefixes worded like the safety prefix that ask for nothing."""
    return [
        Request(
            f"{NEUTRAL_PREFIXES[index % len(NEUTRAL_PREFIXES)]}\n{request.text}",
            request.image,
            request.question,
        )
        for index, request in enumerate(requests)
    ]


def _fitting(draw: Callable[[], T]) -> T:
    """Draw again from the same stream as long as the things of a scene do not fit."""
    for _ in range(_TRIES - 1):
        try:
            return draw()
        except ValueError:
            continue
    return draw()


def _backgrounds(split: Split) -> tuple[str, ...]:
    return HELD_OUT_BACKGROUNDS if split == "reported" else TRAINING_BACKGROUNDS


def _stream(seed: int, split: Split, kind: int, index: int) -> np.random.Generator:
    """A generator per request: a request does not depend on how many are drawn."""
    return np.random.default_rng((_DOMAIN, seed, _SPLITS[split], kind, index))
