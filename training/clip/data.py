"""Training crops for the miniature encoder, drawn at its input size.

Like the detector's crops, a crop shows one thing, several, a fragment of a large one, small ones,
or only background. Its target is a distribution over the concepts and "nothing", in proportion to
the visible share of each thing. Each patch of the crop also has a label. Things outside the
world's concepts stand among them; they have no name, only the label "something else". Many crops
are turned, grey, recoloured, compressed or partly covered, as pictures are.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from torch.utils.data import Dataset

from guardalign_middleware.mini.world import (
    CONCEPTS,
    TRAINING_BACKGROUNDS,
    draw_background,
    place_item,
)
from guardalign_middleware.mini.world.scenes import contrasting_ink
from training.clip.alterations import altered, covers
from training.clip.captions import KINDS
from training.clip.looks import draw_look, draw_name, draw_stranger, draw_variant

SIDE = 56
PATCH = 8
GRID = SIDE // PATCH
IGNORED = -100
OTHER = len(CONCEPTS) + 1
"""The label of what is none of the concepts, and no background."""
_NOTHING = len(CONCEPTS)
_STRANGER_SHARE = 0.33
FILL = 127 / 255
_POOL = 500
_LEAVES_SHARE = 0.4
_POOL_SIDE = 480
_SMALL_SIDES = (11, 13, 16, 18, 21, 24, 28, 32, 36, 40, 44, 48, 54, 60)
_LARGE_SIDES = (76, 100, 132)
_WINDOWS = (56, 64, 90, 112, 150, 192)
_INDEX = {concept.name: index for index, concept in enumerate(CONCEPTS)}
_KIND_OF = [KINDS.index(concept.kind) for concept in CONCEPTS]
Pixels = NDArray[np.float32]


@cache
def _pooled(index: int) -> Image.Image:
    """A large background; half of the drawn ones combine two families along a ragged border."""
    rng = np.random.default_rng((20_260, index))
    if rng.random() < _LEAVES_SHARE:
        return _dead_leaves(rng)
    drawn = _family(rng, index)
    if rng.random() < 0.5:
        cells = int(rng.integers(4, 14))
        coarse = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
        fine = coarse.resize((_POOL_SIDE, _POOL_SIDE), Image.Resampling.BICUBIC)
        here = np.asarray(fine) > rng.uniform(0.3, 0.7)
        drawn = np.where(here[..., None], drawn, _family(rng, int(rng.integers(_POOL))))
    return Image.fromarray(np.round(255 * drawn).astype(np.uint8))


def _dead_leaves(rng: np.random.Generator) -> Image.Image:
    """Shapes in front of shapes, of all sizes, shaded and grained: statistics as of photographs.

    The dead leaves model (Lee, Mumford and Huang, IJCV 2001): radii have a density in r^-3, so that
    the picture has edges, plain areas and details at every scale.
    """
    palette = rng.uniform(0, 255, (int(rng.integers(3, 9)), 3))
    grey = palette.mean(axis=1, keepdims=True)
    palette = grey + rng.uniform(0.1, 0.9) * (palette - grey)
    leaves = Image.new("RGB", (_POOL_SIDE, _POOL_SIDE), tuple(int(v) for v in palette[0]))
    pen = ImageDraw.Draw(leaves)
    smallest, largest = rng.uniform(2, 12), rng.uniform(80, 240)
    for draw in rng.random(int(rng.integers(300, 1500))):
        radius = (draw / largest**2 + (1 - draw) / smallest**2) ** -0.5
        x, y = rng.uniform(0, _POOL_SIDE, 2)
        shade = palette[int(rng.integers(len(palette)))] + rng.normal(0, 18, 3)
        color = tuple(int(v) for v in np.clip(shade, 0, 255))
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
        if rng.random() < 0.5:
            wide, high = radius * rng.uniform(0.4, 1), radius * rng.uniform(0.4, 1)
            pen.ellipse((x - wide, y - high, x + wide, y + high), fill=color)
        else:
            corners = [(x + radius * np.cos(a), y + radius * np.sin(a)) for a in angles]
            pen.polygon(corners, fill=color)
    blurred = leaves.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.8))))
    cells = int(rng.integers(2, 8))
    light = Image.fromarray(rng.uniform(0.55, 1.25, (cells, cells)).astype(np.float32))
    light = light.resize((_POOL_SIDE, _POOL_SIDE), Image.Resampling.BICUBIC)
    pixels = np.asarray(blurred, dtype=np.float32) * np.asarray(light)[..., None]
    pixels += rng.normal(0, rng.uniform(0, 10), pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _family(rng: np.random.Generator, index: int) -> Pixels:
    name = TRAINING_BACKGROUNDS[index % len(TRAINING_BACKGROUNDS)]
    return draw_background(rng, name, _POOL_SIDE, _POOL_SIDE)


def _background(rng: np.random.Generator) -> Pixels:
    """A recoloured window of a pooled background, at about the detector's scales."""
    window = _WINDOWS[int(rng.integers(len(_WINDOWS)))]
    left, top = rng.integers(0, _POOL_SIDE - window + 1, 2)
    crop = _pooled(int(rng.integers(_POOL))).resize(
        (SIDE, SIDE),
        Image.Resampling.BILINEAR,
        box=(int(left), int(top), int(left) + window, int(top) + window),
    )
    if rng.random() < 0.15:
        _scribble(rng, crop)
    pixels = np.asarray(crop, dtype=np.float32)[..., rng.permutation(3)] / np.float32(255)
    pixels = pixels * np.float32(rng.uniform(0.75, 1.1)) + np.float32(rng.uniform(-0.08, 0.08))
    return np.ascontiguousarray(np.clip(pixels, 0, 1))


def _scribble(rng: np.random.Generator, crop: Image.Image) -> None:
    """Draw polygons and lines that show no concept."""
    pen = ImageDraw.Draw(crop)
    for _ in range(int(rng.integers(1, 4))):
        around = rng.uniform(0, SIDE, 2)
        corners = around + rng.uniform(-1, 1, (int(rng.integers(3, 7)), 2)) * rng.uniform(5, 24)
        points = [(float(x), float(y)) for x, y in corners]
        color = tuple(int(level) for level in rng.integers(0, 256, 3))
        if rng.random() < 0.5:
            pen.polygon(points, fill=color)
        else:
            pen.line(points, fill=color, width=int(rng.integers(1, 6)))


def _drawn(rng: np.random.Generator, options: tuple[int, ...]) -> int:
    return options[int(rng.integers(len(options)))]


def _geometry(rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """`(side, left, top)` of the things in one crop; they hardly overlap."""
    mode = rng.random()
    sides: tuple[int, ...]
    boxes: list[tuple[int, int, int]] = []
    if mode < 0.07:
        return boxes
    if mode < 0.62:  # a visible thing, possibly with neighbours
        side = _drawn(rng, _SMALL_SIDES[2:])
        slack = SIDE - side
        reach = max(slack, 0) // 2 + 0.22 * side
        center = rng.uniform(-reach, reach, 2)
        left, top = np.round((SIDE - side) / 2 + center).astype(int)
        boxes.append((side, int(left), int(top)))
        extra = _drawn(rng, (0, 0, 1, 2, 3))
        sides = _SMALL_SIDES[2:]
    elif mode < 0.8:  # a large thing, cut off or filling the crop
        side = _drawn(rng, _LARGE_SIDES)
        left, top = rng.integers(-side + 12, SIDE - 12, 2)
        boxes.append((side, int(left), int(top)))
        extra = int(rng.integers(0, 2))
        sides = (*_SMALL_SIDES[4:], *_LARGE_SIDES[:1])
    else:  # clutter
        extra = int(rng.integers(1, 6))
        sides = _SMALL_SIDES
    for _ in range(extra * 4):
        if extra == 0:
            break
        side = _drawn(rng, sides)
        left, top = (int(v) for v in rng.integers(-side + 5, SIDE - 4, 2))
        if all(
            left >= l2 + 0.9 * s2
            or left + 0.9 * side <= l2
            or top >= t2 + 0.9 * s2
            or top + 0.9 * side <= t2
            for s2, l2, t2 in boxes
        ):
            boxes.append((side, left, top))
            extra -= 1
    return boxes


def _ink(rgba: Pixels, left: int, top: int) -> Pixels:
    """The sprite's opacity inside the crop, `[SIDE, SIDE]`."""
    side = rgba.shape[0]
    ink = np.zeros((SIDE, SIDE), dtype=np.float32)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, SIDE), min(top + side, SIDE)
    ink[y0:y1, x0:x1] = rgba[y0 - top : y1 - top, x0 - left : x1 - left, 3]
    return ink


def _masked(
    rng: np.random.Generator, boxes: list[tuple[int, int, int]]
) -> tuple[slice, slice] | None:
    """Rarely, a grey box over a thing or elsewhere, because the guard scans its own masks again."""
    if rng.random() > 0.15:
        return None
    if boxes and rng.random() < 0.6:
        side, left, top = boxes[0]
        grow = rng.integers(-1, 9, 4)
        y0, y1 = top - grow[0], top + side + grow[1]
        x0, x1 = left - grow[2], left + side + grow[3]
    else:
        y0, x0 = rng.integers(-12, SIDE - 10, 2)
        y1, x1 = (y0, x0) + rng.integers(14, SIDE + 12, 2)
    return slice(max(int(y0), 0), max(int(y1), 0)), slice(max(int(x0), 0), max(int(x1), 0))


class Crop:
    """Pixels `[SIDE, SIDE, 3]` in [0, 1], target `[concepts + 2]`, patch labels `[GRID, GRID]`.

    The last two of the target are "nothing" and something else.
    """

    def __init__(self, pixels: Pixels, target: Pixels, patches: NDArray[np.int64]) -> None:
        self.pixels, self.target, self.patches = pixels, target, patches


def draw_crop(rng: np.random.Generator) -> Crop:
    """One training crop; patches of things that are too small or too cut are `IGNORED`."""
    canvas = _background(rng)
    target = np.zeros(len(CONCEPTS) + 2, dtype=np.float32)
    patches = np.full((GRID, GRID), len(CONCEPTS), dtype=np.int64)
    covered = np.full((GRID, GRID), 0.2, dtype=np.float32)
    variant = draw_variant(rng)
    mixed = rng.random() < 0.3
    seen = 0.0
    boxes = _geometry(rng)
    masked = _masked(rng, boxes)
    over = covers(rng, boxes, SIDE) if masked is None else []
    for side, left, top in boxes:
        if mixed:
            variant = draw_variant(rng)
        look = variant
        if rng.random() < _STRANGER_SHARE:
            name, look = draw_stranger(rng, variant)
            label = OTHER
        else:
            name = draw_name(rng, variant.style)
            label = _INDEX[name]
        rgba = draw_look(rng, name, look, side)
        color = contrasting_ink(rng, canvas) if look.inked else None
        place_item(canvas, rgba, left, top, color)
        ink = _ink(rgba, left, top)
        for hidden in [cover.where for cover in over] + ([] if masked is None else [masked]):
            ink[hidden] = 0.0
        visible = float(ink.sum() / (rgba[..., 3].sum() + 1e-6))
        weight = float(np.clip((visible - 0.28) / 0.3, 0, 1) * np.clip((side - 10) / 8, 0, 1))
        target[label] += weight
        seen += weight
        share = ink.reshape(GRID, PATCH, GRID, PATCH).mean(axis=(1, 3))
        if variant.inked:
            share = np.minimum(2 * share, 1)  # outlines cover little of the area they enclose
        patches[share > covered] = label if weight > 0.3 else IGNORED
        covered = np.maximum(covered, share)
    target[_NOTHING] = max(0.0, 1.0 - seen)
    if masked is not None:
        canvas[masked] = FILL
    for cover in over:
        canvas[cover.where] = cover.color
    if rng.random() < 0.3:
        canvas = canvas + rng.normal(0, rng.uniform(0, 0.04), canvas.shape).astype(np.float32)
    pixels, patches = altered(rng, np.clip(canvas, 0, 1), patches)
    return Crop(pixels, target / target.sum(), patches)


class Crops(Dataset[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]):
    """Batch `i` depends on the seed and `i` only, so a run can resume at any step.

    A batch is uint8 pixels `[B, 3, SIDE, SIDE]`, concept targets `[B, 210]`, kind targets
    `[B, K + 2]` and patch labels `[B, GRID * GRID]`.
    """

    def __init__(self, seed: int, batch_size: int, steps: int) -> None:
        self.seed, self.batch_size, self.steps = seed, batch_size, steps

    def __len__(self) -> int:
        """Number of batches."""
        return self.steps

    def __getitem__(
        self, index: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The batch of one step."""
        rng = np.random.default_rng((self.seed, index))
        drawn = [draw_crop(rng) for _ in range(self.batch_size)]
        pixels = np.stack([np.round(crop.pixels * 255).astype(np.uint8) for crop in drawn])
        concepts = torch.from_numpy(np.stack([crop.target for crop in drawn]))
        patches = torch.from_numpy(np.stack([crop.patches.reshape(-1) for crop in drawn]))
        kinds = torch.zeros(self.batch_size, len(KINDS) + 2)
        kinds.index_add_(1, torch.tensor([*_KIND_OF, len(KINDS), len(KINDS) + 1]), concepts)
        return torch.from_numpy(pixels).permute(0, 3, 1, 2), concepts, kinds, patches
