"""The heat of a verdict as a picture: on a coarse grid, in colours, or as a layer to lay on top."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from guardalign_middleware.heat import heats_of, pixel_heat
from guardalign_middleware.types import Verdict

HEAT_OPACITY = 0.6
"""How much of the picture the strongest heat hides."""

_GRID = 192
_STOPS = np.array([[255, 235, 120], [255, 140, 0], [220, 0, 20]], dtype=np.float64)


def heat_layer(verdict: Verdict) -> Image.Image:
    """The heat alone, to lay on the picture at its size: RGBA, clear where nothing is near.

    Args:
        verdict: with evidence; without patches the layer is clear.

    Raises:
        ValueError: a patch distance is not finite.
    """
    if not len(verdict.evidence.patch_distances):
        return Image.new("RGBA", (1, 1))
    strength = np.asarray(heat_strength(verdict), dtype=np.float64) / 255.0
    opacity = 255.0 * HEAT_OPACITY * strength
    layer = np.concatenate([heat_color(strength), opacity[..., None]], axis=-1)
    return Image.fromarray(np.rint(layer).astype(np.uint8), "RGBA")


def heat_color(strength: NDArray[np.float64]) -> NDArray[np.float64]:
    """From yellow through orange to red: strength `[...]` in 0–1 → RGB `[..., 3]` in 0–255."""
    channels = [np.interp(strength, [0.0, 0.5, 1.0], stops) for stops in _STOPS.T]
    return np.stack(channels, axis=-1)


def heat_strength(verdict: Verdict) -> Image.Image:
    """Strength as grey on a coarse grid; the verdict has at least one patch.

    Raises:
        ValueError: a patch distance is not finite.
    """
    width, height, evidence = verdict.width, verdict.height, verdict.evidence
    cells = _GRID / max(width, height)
    rows, columns = max(1, round(height * cells)), max(1, round(width * cells))
    limits = verdict.patch_thresholds
    if not verdict.decided:
        # Without thresholds, the nearest patch is drawn as if it were at one.
        limits = np.full(len(limits), evidence.patch_distances.min())
    heats = heats_of(evidence.patch_distances, limits)
    xs, ys, heat = pixel_heat(evidence.patch_boxes, heats, evidence.patch_levels)
    # Few levels see a small thing, and their mean would be pale.
    heat *= heats.max() / max(float(heat.max()), 1e-9)
    across = _cells_of(xs, (np.arange(columns) + 0.5) * width / columns)
    down = _cells_of(ys, (np.arange(rows) + 0.5) * height / rows)
    smallest = float(np.sqrt(np.ptp(evidence.patch_boxes.reshape(-1, 2, 2), axis=1).min()))
    grey = Image.fromarray(np.rint(255.0 * heat[np.ix_(down, across)]).astype(np.uint8))
    return grey.filter(ImageFilter.GaussianBlur(min(8.0, smallest * cells)))


def _cells_of(edges: NDArray[np.int64], places: NDArray[np.float64]) -> NDArray[np.int64]:
    """The cell between the edges in which each place lies; the nearest one outside of them."""
    return np.clip(np.searchsorted(edges, places, side="right") - 1, 0, len(edges) - 2)
