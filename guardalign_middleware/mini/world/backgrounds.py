"""Backgrounds in named families, three of which are never used in training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.float32]


def _color(rng: np.random.Generator) -> Pixels:
    """A colour of at least medium lightness, float32 `[3]`, so that things stay visible on it."""
    color: Pixels = rng.uniform(0.25, 1.0, 3).astype(np.float32)
    return color


def _grid(height: int, width: int) -> tuple[Pixels, Pixels]:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return y, x


def _plain(rng: np.random.Generator, height: int, width: int) -> Pixels:
    return np.broadcast_to(_color(rng), (height, width, 3)).copy()


def _mix(share: Pixels, first: Pixels, second: Pixels) -> Pixels:
    return share[..., None] * first + (1 - share[..., None]) * second


def _gradient(rng: np.random.Generator, height: int, width: int) -> Pixels:
    y, x = _grid(height, width)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.cos(angle) * x / width + np.sin(angle) * y / height
    ramp = (ramp - ramp.min()) / (np.ptp(ramp) + 1e-6)
    return _mix(ramp, _color(rng), _color(rng))


def _noise(rng: np.random.Generator, height: int, width: int) -> Pixels:
    grain = rng.normal(0, rng.uniform(0.02, 0.1), (height, width, 3)).astype(np.float32)
    return _plain(rng, height, width) + grain


def _clouds(rng: np.random.Generator, height: int, width: int) -> Pixels:
    cells = int(rng.integers(2, 7))
    small = rng.uniform(0, 255, (cells, cells, 3)).astype(np.uint8)
    smooth = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    return 0.35 + 0.6 * np.asarray(smooth, dtype=np.float32) / 255.0


def _stripes(rng: np.random.Generator, height: int, width: int) -> Pixels:
    y, x = _grid(height, width)
    period = rng.uniform(10, 60)
    horizontal = rng.random() < 0.5
    share = ((y if horizontal else x) % period < period / 2).astype(np.float32)
    return _mix(share, *_near_pair(rng))


def _checks(rng: np.random.Generator, height: int, width: int) -> Pixels:
    y, x = _grid(height, width)
    period = rng.uniform(10, 50)
    share = (((y // period) + (x // period)) % 2).astype(np.float32)
    return _mix(share, *_near_pair(rng))


def _near_pair(rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Two colours of moderate contrast, so that things stand out from the pattern."""
    first = _color(rng)
    second = np.clip(first + rng.uniform(-0.25, 0.25, 3).astype(np.float32), 0, 1)
    return first, second


def _diagonals(rng: np.random.Generator, height: int, width: int) -> Pixels:
    y, x = _grid(height, width)
    period = rng.uniform(14, 60)
    share = ((x + rng.choice([-1, 1]) * y) % period < period / 2).astype(np.float32)
    return _mix(share, *_near_pair(rng))


def _dots(rng: np.random.Generator, height: int, width: int) -> Pixels:
    y, x = _grid(height, width)
    period = rng.uniform(16, 50)
    radius = period * rng.uniform(0.15, 0.35)
    distance = np.hypot(x % period - period / 2, y % period - period / 2)
    return _mix((distance < radius).astype(np.float32), *_near_pair(rng))


def _rings(rng: np.random.Generator, height: int, width: int) -> Pixels:
    y, x = _grid(height, width)
    distance = np.hypot(x - rng.uniform(0, width), y - rng.uniform(0, height))
    share = 0.5 + 0.5 * np.sin(2 * np.pi * distance / rng.uniform(20, 80))
    return _mix(share.astype(np.float32), *_near_pair(rng))


_FAMILIES: dict[str, Callable[[np.random.Generator, int, int], Pixels]] = {
    "plain": _plain,
    "gradient": _gradient,
    "noise": _noise,
    "clouds": _clouds,
    "stripes": _stripes,
    "checks": _checks,
    "diagonals": _diagonals,
    "dots": _dots,
    "rings": _rings,
}
TRAINING_BACKGROUNDS = ("plain", "gradient", "noise", "clouds", "stripes", "checks")
HELD_OUT_BACKGROUNDS = ("diagonals", "dots", "rings")


def draw_background(rng: np.random.Generator, family: str, height: int, width: int) -> Pixels:
    """A background as float32 `[height, width, 3]` in [0, 1]."""
    return np.clip(_FAMILIES[family](rng, height, width), 0.0, 1.0).astype(np.float32)
