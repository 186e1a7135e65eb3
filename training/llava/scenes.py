"""Small scenes, drawn at the vision tower's input size, with a label for every patch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from guardalign_middleware.boxes import intersection
from guardalign_middleware.mini.questions import ITEM_SIDES, SCENE_SIDE, THINGS
from guardalign_middleware.mini.world import (
    TRAINING_BACKGROUNDS,
    draw_background,
    place_item,
    sprite,
)

SIDE = 84
PATCH = 14
GRID = SIDE // PATCH
NOTHING = len(THINGS)
FILL = 127 / 255
Counts = tuple[float, float, float, float]
"""Probability of 0, 1, 2 and 3 things in a scene."""
FEW: Counts = (0.1, 0.35, 0.35, 0.2)
MANY: Counts = (0.06, 0.2, 0.3, 0.44)
_TRIES = 40
_ODDS = np.array([2.0 if thing.unsafe else 1.0 for thing in THINGS])
_ODDS /= _ODDS.sum()
_LEAST, _MOST = (round(side * SIDE / SCENE_SIDE) for side in ITEM_SIDES)
# A mask may leave part of the thing visible: moved by this share of its side along both axes, it
# still covers half.
_MASK_MOVED = 0.3


class Drawn:
    """One training scene: pixels `[84, 84, 3]`, patch labels `[6, 6]`, and the visible things."""

    def __init__(
        self, pixels: NDArray[np.uint8], labels: NDArray[np.int64], things: list[int]
    ) -> None:
        self.pixels, self.labels, self.things = pixels, labels, things


def _background(rng: np.random.Generator) -> NDArray[np.float32]:
    """One of the training families, or two of them along a ragged border."""
    first, second = (
        draw_background(rng, str(name), SIDE, SIDE)
        for name in rng.choice(list(TRAINING_BACKGROUNDS), 2)
    )
    if rng.random() < 0.5:
        return first
    cells = int(rng.integers(2, 8))
    height = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    above = np.asarray(height.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) > rng.uniform(
        0.3, 0.7
    )
    mixed: NDArray[np.float32] = np.where(above[..., None], first, second)
    return mixed


def draw(rng: np.random.Generator, counts: Counts = FEW) -> Drawn:
    """A scene with 0 to 3 things; in some, one is at least half masked and does not count."""
    canvas = _background(rng)
    count = int(rng.choice(4, p=counts))
    names = rng.choice(len(THINGS), size=count, replace=False, p=_ODDS)
    boxes: list[tuple[int, int, int, int]] = []
    covers = np.zeros((len(THINGS) + 1, GRID, GRID), dtype=np.float32)
    shown: list[int] = []
    masked = rng.random() < 0.25
    for index in names:
        side = int(rng.integers(_LEAST - 2, _MOST + 3))
        for _ in range(_TRIES):
            left, top = (int(v) for v in rng.integers(0, SIDE - side + 1, 2))
            box = (left, top, left + side, top + side)
            if not any(intersection(box, other) for other in boxes):
                break
        else:
            continue
        boxes.append(box)
        rgba = sprite(THINGS[index].name, "noto", side, int(rng.choice((-12, -6, 0, 6, 12))))
        place_item(canvas, rgba, left, top)
        if masked:
            masked = False
            _mask(rng, canvas, left, top, side)
            continue
        alpha = np.zeros((SIDE, SIDE), dtype=np.float32)
        alpha[top : top + side, left : left + side] = rgba[..., 3]
        covers[index] = alpha.reshape(GRID, PATCH, GRID, PATCH).mean(axis=(1, 3))
        shown.append(int(index))
    covers[NOTHING] = 0.2
    canvas = canvas * rng.uniform(0.9, 1.08)
    pixels = np.round(np.clip(canvas, 0, 1) * 255).astype(np.uint8)
    return Drawn(pixels, covers.argmax(axis=0), shown)


def _mask(
    rng: np.random.Generator, canvas: NDArray[np.float32], left: int, top: int, side: int
) -> None:
    """Paint a grey rectangle over at least half of a thing."""
    moved = round(_MASK_MOVED * side) if rng.random() < 0.6 else 0
    across, down = rng.integers(-moved, moved + 1, 2)
    grow = rng.integers(0, 7, 4)
    rows = slice(max(top + down - grow[0], 0), max(top + down + side + grow[1], 0))
    columns = slice(max(left + across - grow[2], 0), max(left + across + side + grow[3], 0))
    canvas[rows, columns] = FILL


class Scenes(Dataset[tuple[Tensor, Tensor]]):
    """Pixels `[B, 3, 84, 84]` uint8, labels `[B, 36]`; batch `i` depends on the seed and `i`."""

    def __init__(self, seed: int, batch_size: int, steps: int) -> None:
        self.seed, self.batch_size, self.steps = seed, batch_size, steps

    def __len__(self) -> int:
        """Number of batches."""
        return self.steps

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """The batch of one step."""
        rng = np.random.default_rng((self.seed, index))
        drawn = [draw(rng) for _ in range(self.batch_size)]
        pixels = torch.from_numpy(np.stack([scene.pixels for scene in drawn])).permute(0, 3, 1, 2)
        labels = torch.from_numpy(np.stack([scene.labels.reshape(-1) for scene in drawn]))
        return pixels, labels
