"""Things outside the world's concepts, which only resemble the unsafe ones: hard negatives.

They have no word in the miniature vocabulary. An encoder has to learn that they are none of the
unsafe things. Each belongs to one split, in every hand, so that a figure is measured on things that
were neither trained on nor used to fit a threshold.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.mini.world.sprites import ATLAS_FOLDER, Atlas, scaled, turned

Split = Literal["trained", "fitted", "reported"]
SPLITS: tuple[Split, ...] = get_args(Split)
SIDE = 64
HANDS = ("noto", "fluent", "twemoji", "blob", "firefox", "openmoji", "emojione")
"""The styles in which the strangers are drawn."""
HELD_OUT_HANDS = ("openmoji", "emojione")
"""Never used in training."""


@dataclass(frozen=True)
class Stranger:
    """One such thing.

    Attributes:
        name: its name in Unicode's lists.
        character: its Unicode character.
        kind: what it resembles or belongs to ("tool", "kitchen", "ball", …).
        split: what it is used for.
    """

    name: str
    character: str
    kind: str
    split: Split


def _read() -> tuple[Stranger, ...]:
    table = Path(__file__).with_name("strangers.csv")
    with table.open(encoding="utf-8", newline="") as lines:
        return tuple(
            Stranger(row["name"], chr(int(row["codepoint"], 16)), row["kind"], _split(row["split"]))
            for row in csv.DictReader(lines)
        )


def _split(name: str) -> Split:
    return next(split for split in SPLITS if split == name)


STRANGERS: tuple[Stranger, ...] = _read()


@cache
def _atlas(hand: str) -> Atlas:
    names = tuple(stranger.name for stranger in STRANGERS)
    return Atlas(ATLAS_FOLDER / "strangers" / f"{hand}.webp", names, SIDE)


@cache
def strangers_of(hand: str, split: Split) -> tuple[Stranger, ...]:
    """The strangers of a split that a hand has drawn."""
    return tuple(
        stranger
        for stranger in STRANGERS
        if stranger.split == split and _atlas(hand).cell(stranger.name) is not None
    )


def stranger_sprite(name: str, hand: str, side: int, angle: int = 0) -> NDArray[np.float32]:
    """The drawing as float32 `[side, side, 4]` in [0, 1], not premultiplied; as `sprite` does.

    Raises:
        ValueError: the hand has not drawn it.
    """
    cell = _atlas(hand).cell(name)
    if cell is None:
        raise ValueError(f"The hand {hand!r} has no drawing of {name!r}.")
    return scaled(turned(cell, angle), side)
