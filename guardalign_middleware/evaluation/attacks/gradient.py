"""Projected gradient descent through views, encoder and transport.

The attacker knows everything but the view seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from guardalign_middleware.detection import Detector, Meter, OpenClipEncoder
from guardalign_middleware.detection.patches import patch_boxes
from guardalign_middleware.errors import ConfigError, DetectionError
from guardalign_middleware.evaluation.attacks.pictures import Target
from guardalign_middleware.types import CanonicalImage

# Beyond the threshold by this factor, which makes up for patches left out of the gradient.
_MARGIN = 2.0
_LEAST = 1e-30


def evade(
    detector: Detector,
    target: Target,
    thresholds: Sequence[float],
    *,
    levels: int,
    steps: int = 10,
    rng: np.random.Generator,
) -> Target:
    """Change the pixels slightly until no patch looks unsafe.

    Minimises Σ_m max(0, ln(2τ) − ln d(m)) over the patches that touch an unsafe thing, or the
    middle of a patch that is near the threshold at the start, by steps of the gradient's sign
    inside the ball |δ| ≤ ε around the picture (Madry et al., arXiv 1706.06083). Each step goes
    through one of the detector's views, chosen at random with a new seed: the attacker cannot know
    the detector's own seeds. With two encoders the sum over both is minimised. The result is a real
    8-bit picture.

    Args:
        detector: with open_clip encoders. To simulate an attacker unaware of the views or of the
            second encoder, pass the detector without them.
        target: the picture and its unsafe things.
        thresholds: τ of each encoder.
        levels: ε in 8-bit levels: 8 means 8/255.
        steps: number of steps of the descent.
        rng: chooses views and their seeds.

    Raises:
        ConfigError: an encoder gives no gradient, or a number is out of range.
        DetectionError: the gradient is NaN or infinite.
    """
    if levels < 1 or steps < 1 or min(thresholds) <= 0.0:
        raise ConfigError("levels and steps should be >= 1 and the threshold > 0.")
    for meter in detector.meters:
        if not isinstance(meter.encoder, OpenClipEncoder):
            raise ConfigError("The gradient attack needs an open_clip encoder.")
    width, height = target.image.width, target.image.height
    clean = to_tensor(target.image)
    attacked = [
        (
            meter,
            _marked(meter, target, threshold, random_view_seed(rng)),
            math.log(_MARGIN * threshold),
        )
        for meter, threshold in zip(detector.meters, thresholds, strict=True)
    ]
    epsilon, stride = levels / 255.0, 2.5 * levels / 255.0 / steps
    change = torch.zeros_like(clean)
    for _ in range(steps):
        change.requires_grad_(True)
        views = detector.meters[0].views_of(width, height, random_view_seed(rng))
        view = views[int(rng.integers(len(views)))]
        loss = torch.zeros((), dtype=torch.float64)
        for meter, marked, goal in attacked:
            # Picture and mark go through the same view, with the same offsets.
            both = view.apply(torch.cat([clean + change, marked]))
            distances = _distances(meter, both[:3].clamp(0.0, 1.0), both[3].detach())
            shortfall = goal - distances.clamp_min(_LEAST).log()
            loss = loss + functional.relu(shortfall).sum().to(loss.device)
        (gradient,) = torch.autograd.grad(loss, change)
        if not bool(torch.isfinite(gradient).all()):
            raise DetectionError("The gradient is NaN or infinite.", stage="attack")
        with torch.no_grad():
            change = (change - stride * gradient.sign()).clamp(-epsilon, epsilon)
            change = (clean + change).clamp(0.0, 1.0) - clean
    return Target(from_tensor(clean + change, target.image.source), target.boxes)


def random_view_seed(rng: np.random.Generator) -> str:
    """A seed for random views, in the form of `detection.view_seed`."""
    return rng.bytes(16).hex()


def _distances(meter: Meter, pixels: Tensor, marked: Tensor) -> Tensor:
    """Distances of the patches that show a mark.

    The others take part without a gradient: a patch's transport depends on all patches.
    """
    boxes = patch_boxes(pixels.shape[2], pixels.shape[1], meter.patches)
    shown = np.array(
        [bool((marked[y0:y1, x0:x1] > 0.5).any()) for x0, y0, x1, y1 in boxes.tolist()]
    )
    encoder = meter.encoder
    assert isinstance(encoder, OpenClipEncoder)  # checked by `evade`
    side = encoder.image_size
    rows = [encoder.embed_images(float_crops(pixels, boxes[shown], side))]
    if not shown.all():
        rest = float_crops(pixels.detach(), boxes[~shown], side)
        rows.append(encoder.encode_images(rest).clone())
    # The scalings' derivatives overflow in float32 where the kernel itself does not.
    return meter.patch_distances(torch.cat(rows).double())[: len(rows[0])]


def _marked(meter: Meter, target: Target, threshold: float, view_seed: str) -> Tensor:
    """`[1, H, W]`: 1 on the things and in the middle of other patches near the threshold."""
    marked = torch.zeros(1, target.image.height, target.image.width)
    for x0, y0, x1, y1 in target.boxes:
        marked[:, y0:y1, x0:x1] = 1.0
    evidence = meter.distances(target.image, view_seed).evidence
    near = evidence.patch_distances <= _MARGIN * threshold
    for x0, y0, x1, y1 in evidence.patch_boxes[near].tolist():
        marked[:, (y0 + y1) // 2, (x0 + x1) // 2] = 1.0
    return marked


def float_crops(pixels: Tensor, boxes: NDArray[np.int64], side: int) -> Tensor:
    """`crop_patches` of a float picture `[3, H, W]`, differentiable; differs by rounding only."""
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


def to_tensor(image: CanonicalImage) -> Tensor:
    """Float `[3, H, W]` in [0, 1]."""
    return torch.from_numpy(image.pixels.copy()).permute(2, 0, 1) / 255.0


def from_tensor(pixels: Tensor, source: str) -> CanonicalImage:
    """The picture, rounded to 8 bits."""
    levels = (pixels.detach().clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
    return CanonicalImage(levels.permute(1, 2, 0).contiguous().numpy(), source)
