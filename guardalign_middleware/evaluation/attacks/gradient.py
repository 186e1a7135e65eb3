"""Projected gradient descent through encoder and transport: an attacker who knows everything."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from guardalign_middleware.detection import Detector, OpenClipEncoder
from guardalign_middleware.detection.patches import patch_boxes
from guardalign_middleware.errors import ConfigError, DetectionError
from guardalign_middleware.evaluation.attacks.pictures import Target
from guardalign_middleware.evaluation.attacks.views import View, as_is, from_tensor, to_tensor

# Beyond the threshold by this factor, so that patches left out of the gradient do not matter.
_MARGIN = 2.0
_LEAST = 1e-30


def evade(
    detector: Detector,
    target: Target,
    threshold: float,
    *,
    levels: int,
    steps: int = 10,
    views: Sequence[View] = (as_is,),
    rng: np.random.Generator,
) -> Target:
    """Change the pixels a little so that no patch looks unsafe.

    Minimises Σ_m max(0, ln(2τ) − ln d(m)) over the patches that touch an unsafe thing, or the
    middle of a patch that is near the threshold to begin with, by steps of the gradient's sign
    inside the ball |δ| ≤ ε around the picture (Madry et al., arXiv 1706.06083), at
    a randomly chosen view in each step. What comes back is a real 8-bit picture.

    Args:
        detector: with an open_clip encoder.
        target: the picture and its unsafe things.
        threshold: τ.
        levels: ε in 8-bit levels: 8 means 8/255.
        steps: of the descent.
        views: what the detector looks at; an attacker who does not know takes `as_is`.
        rng: chooses views and their offsets.

    Raises:
        ConfigError: the encoder gives no gradient, or a number is out of range.
        DetectionError: the gradient is NaN or infinite.
    """
    encoder = detector.encoder
    if not isinstance(encoder, OpenClipEncoder):
        raise ConfigError("The gradient attack needs an open_clip encoder.")
    if levels < 1 or steps < 1 or threshold <= 0.0:
        raise ConfigError("levels and steps should be >= 1 and the threshold > 0.")
    clean = to_tensor(target.image)
    marked = _marked(detector, target, threshold)
    epsilon, stride = levels / 255.0, 2.5 * levels / 255.0 / steps
    change = torch.zeros_like(clean)
    for _ in range(steps):
        change.requires_grad_(True)
        view = views[int(rng.integers(len(views)))]
        # Picture and mark go through the same view, so one draw of its offsets serves both.
        both = view(torch.cat([clean + change, marked]), detector.config.patches, rng)
        distances = _distances(detector, encoder, both[:3].clamp(0.0, 1.0), both[3].detach())
        shortfall = math.log(_MARGIN * threshold) - distances.clamp_min(_LEAST).log()
        (gradient,) = torch.autograd.grad(functional.relu(shortfall).sum(), change)
        if not bool(torch.isfinite(gradient).all()):
            raise DetectionError("The gradient is NaN or infinite.", stage="attack")
        with torch.no_grad():
            change = (change - stride * gradient.sign()).clamp(-epsilon, epsilon)
            change = (clean + change).clamp(0.0, 1.0) - clean
    return Target(from_tensor(clean + change, target.image.source), target.boxes)


def _distances(
    detector: Detector, encoder: OpenClipEncoder, pixels: Tensor, marked: Tensor
) -> Tensor:
    """Distances of the patches that show a mark; the others take part without a gradient.

    They have to: a patch's transport depends on which patches share the concepts with it.
    """
    boxes = patch_boxes(pixels.shape[2], pixels.shape[1], detector.config.patches)
    shown = np.array(
        [bool((marked[y0:y1, x0:x1] > 0.5).any()) for x0, y0, x1, y1 in boxes.tolist()]
    )
    side = encoder.image_size
    rows = [encoder.embed_images(float_crops(pixels, boxes[shown], side))]
    if not shown.all():
        rest = float_crops(pixels.detach(), boxes[~shown], side)
        rows.append(encoder.encode_images(rest).clone())
    # The scalings' derivatives overflow in float32 where the kernel itself does not.
    return detector.patch_distances(torch.cat(rows).double())[: len(rows[0])]


def _marked(detector: Detector, target: Target, threshold: float) -> Tensor:
    """`[1, H, W]`, 1 on the things and in the middle of what is found, or nearly, elsewhere."""
    marked = torch.zeros(1, target.image.height, target.image.width)
    for x0, y0, x1, y1 in target.boxes:
        marked[:, y0:y1, x0:x1] = 1.0
    evidence = detector.distances(target.image).evidence
    near = evidence.patch_distances <= _MARGIN * threshold
    for x0, y0, x1, y1 in evidence.patch_boxes[near].tolist():
        marked[:, (y0 + y1) // 2, (x0 + x1) // 2] = 1.0
    return marked


def float_crops(pixels: Tensor, boxes: NDArray[np.int64], side: int) -> Tensor:
    """`crop_patches` of a float picture `[3, H, W]`, with a gradient; differs by its rounding."""
    crops: list[Tensor | None] = [None] * len(boxes)
    sides = boxes[:, 2] - boxes[:, 0]
    for size in np.unique(sides):
        rows = np.flatnonzero(sides == size)
        cut = torch.stack([pixels[:, y0:y1, x0:x1] for x0, y0, x1, y1 in boxes[rows].tolist()])
        if size != side:
            cut = functional.interpolate(
                cut, size=(side, side), mode="bicubic", align_corners=False, antialias=True
            ).clamp(0.0, 1.0)
        for row, crop in zip(rows.tolist(), cut, strict=True):
            crops[row] = crop
    return torch.stack([crop for crop in crops if crop is not None])
