"""What happens to pictures on their way: turned, grey, recoloured, compressed, ruled, covered."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Cover:
    """Something in front: where it hides the picture, bool `[side, side]`, and its colour `[3]`."""

    where: NDArray[np.bool_]
    color: Pixels


def covers(rng: np.random.Generator, boxes: list[tuple[int, int, int]], side: int) -> list[Cover]:
    """Sometimes one or two plain shapes in front of the things, as hands or furniture are.

    Args:
        rng: the source of randomness.
        boxes: `(side, left, top)` of the things; the first is covered most often.
        side: of the crop.
    """
    if not boxes or rng.random() > 0.25:
        return []
    y, x = np.mgrid[:side, :side].astype(np.float32)
    shapes = []
    for _ in range(1 if rng.random() < 0.7 else 2):
        size, left, top = boxes[0 if rng.random() < 0.7 else int(rng.integers(len(boxes)))]
        angle = rng.uniform(0, np.pi) if rng.random() < 0.5 else rng.integers(4) * np.pi / 2
        across = (x - left - size / 2) * np.cos(angle) + (y - top - size / 2) * np.sin(angle)
        if rng.random() < 0.5:  # one side of the thing, up to a little more than half
            where = across > rng.uniform(-0.08, 0.3) * size
            where &= across < 1.5 * size
        else:  # a bar across it
            where = np.abs(across - rng.uniform(-0.3, 0.3) * size) < rng.uniform(0.06, 0.22) * size
        shapes.append(Cover(where, rng.uniform(0, 1, 3).astype(np.float32)))
    return shapes


def altered(rng: np.random.Generator, pixels: Pixels, patches: Labels) -> tuple[Pixels, Labels]:
    """The crop `[S, S, 3]` in [0, 1] after random changes, and its labels, turned with it."""
    if rng.random() < 0.45:
        turns = int(rng.integers(1, 4))
        pixels, patches = np.rot90(pixels, turns), np.rot90(patches, turns)
    if rng.random() < 0.1:
        pixels = _ruled(rng, pixels)
    if rng.random() < 0.36:
        pixels = _COLORS[int(rng.integers(len(_COLORS)))](rng, pixels)
    if rng.random() < 0.15:
        pixels = _compressed(rng, pixels)
    return np.ascontiguousarray(np.clip(pixels, 0, 1)), np.ascontiguousarray(patches)


def _grey(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    light = (pixels @ weights)[..., None]
    if rng.random() < 0.3:  # one tint, as in an old photograph
        return light * rng.uniform(0.7, 1.1, 3).astype(np.float32)
    return np.repeat(light, 3, axis=2)


def _inverted(_: np.random.Generator, pixels: Pixels) -> Pixels:
    return 1 - pixels


def _mixed(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    mix = np.eye(3) * 0.4 + rng.dirichlet(np.ones(3), 3) * 0.6
    return (pixels @ mix[rng.permutation(3)]).astype(np.float32)


def _contrast(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    mean = pixels.mean()
    changed = mean + (pixels - mean) * np.float32(rng.uniform(0.4, 1.6))
    return np.clip(changed, 0, 1) ** np.float32(rng.uniform(0.6, 1.6))


def _blurred(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    picture = _picture(pixels).filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.2))))
    return np.asarray(picture, dtype=np.float32) / np.float32(255)


_COLORS: tuple[Callable[[np.random.Generator, Pixels], Pixels], ...] = (
    _grey,
    _grey,
    _grey,
    _inverted,
    _mixed,
    _contrast,
    _contrast,
    _blurred,
)


def _ruled(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    """Under a grid, or lines one way, as of paper, a fence or a screen."""
    ruled = pixels.copy()
    period, width = int(rng.integers(6, 24)), int(rng.integers(1, 4))
    color = np.full(3, rng.integers(2)) if rng.random() < 0.7 else rng.uniform(0, 1, 3)
    offset = int(rng.integers(period))
    ways = (True, True) if rng.random() < 0.6 else (True, False)
    at = (np.arange(len(pixels)) + offset) % period < width
    if ways[0]:
        ruled[at] = color
    if ways[1]:
        ruled[:, at] = color
    return ruled


def _compressed(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    file = io.BytesIO()
    _picture(pixels).save(file, "JPEG", quality=int(rng.integers(20, 85)))
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.float32) / np.float32(255)


def _picture(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8))
