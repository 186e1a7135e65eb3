"""Projected gradient descent through views, forms, encoder and transport.

The attacker knows everything but the view seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from guardalign_middleware.detection import Detector, Meter, OpenClipEncoder
from guardalign_middleware.detection.forms import Form
from guardalign_middleware.detection.patches import PADDING, cut_crops
from guardalign_middleware.detection.plan import FormPatches, view_patches
from guardalign_middleware.detection.resize import channels_first, resized
from guardalign_middleware.errors import ConfigError, DetectionError
from guardalign_middleware.evaluation.attacks.target import Target
from guardalign_middleware.types import CanonicalImage, FormName

Thresholds = Callable[[FormName], float]
"""τ of an encoder's patches of a form; the largest, if categories differ."""

# Beyond the threshold by this factor, which makes up for patches left out of the gradient.
_MARGIN = 2.0
_LEAST = 1e-30


def evade(
    detector: Detector,
    target: Target,
    thresholds: Sequence[Thresholds],
    *,
    levels: int,
    steps: int = 10,
    rng: np.random.Generator,
) -> Target:
    """Change the pixels slightly until no patch looks unsafe.

    Minimises Σ_m max(0, ln(2τ) − ln d(m)) over the patches of every form that touch an unsafe
    thing, or the middle of a patch that is near the threshold at the start, by steps of the
    gradient's sign inside the ball |δ| ≤ ε around the picture (Madry et al., arXiv 1706.06083).
    Each step goes through one of the detector's views, chosen at random with a new seed: the
    attacker cannot know the detector's own seeds. A form that a model's processor makes has no
    gradient; the same part of the picture, resampled to the same size, stands in for it. With two
    encoders the sum over both is minimised. The result is a real 8-bit picture.

    Args:
        detector: with open_clip encoders. To simulate an attacker unaware of the views or of the
            second encoder, pass the detector without them.
        target: the picture and its unsafe things.
        thresholds: of each encoder.
        levels: ε in 8-bit levels: 8 means 8/255.
        steps: number of steps of the descent.
        rng: chooses views and their seeds.

    Raises:
        ConfigError: an encoder gives no gradient, or a number is out of range.
        DetectionError: the gradient is NaN or infinite.
    """
    if levels < 1 or steps < 1:
        raise ConfigError("levels and steps should be >= 1.")
    for meter in detector.meters:
        if not isinstance(meter.encoder, OpenClipEncoder):
            raise ConfigError("The gradient attack needs an open_clip encoder.")
        if meter.look.patches.layout == "dense":
            raise ConfigError("The gradient attack is not made for patches.layout dense.")
    width, height = target.image.width, target.image.height
    clean = to_tensor(target.image)
    attacked = [
        (meter, _marked(meter, target, of_form, random_view_seed(rng)), of_form)
        for meter, of_form in zip(detector.meters, thresholds, strict=True)
    ]
    epsilon, stride = levels / 255.0, 2.5 * levels / 255.0 / steps
    change = torch.zeros_like(clean)
    for _ in range(steps):
        change.requires_grad_(True)
        views = detector.meters[0].views_of(width, height, random_view_seed(rng))
        view = views[int(rng.integers(len(views)))]
        seen = view.apply((clean + change).clamp(0.0, 1.0))
        loss = torch.zeros((), dtype=torch.float64)
        for meter, marked, of_form in attacked:
            # Where the crops lie does not depend on the change.
            for form in view_patches(target.image, view, meter.look):
                goal = math.log(_MARGIN * of_form(form.form.name))
                distances = _distances(meter, form, seen, marked)
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


def _distances(meter: Meter, form: FormPatches, view: Tensor, marked: NDArray[np.bool_]) -> Tensor:
    """Distances of the patches of a form that show a mark.

    The others take part without a gradient: a patch's transport depends on all patches of its form.

    Args:
        meter: with an open_clip encoder.
        form: the form of a view, and its crops.
        view: the view of the changed picture, float `[3, H, W]` in [0, 1].
        marked: bool `[H, W]`, in pixels of the picture.
    """
    encoder, side, grey = meter.encoder, meter.encoder.image_size, PADDING / 255.0
    assert isinstance(encoder, OpenClipEncoder)  # checked by `evade`
    places = form.image_boxes.tolist()
    shown = np.array([bool(marked[y0:y1, x0:x1].any()) for x0, y0, x1, y1 in places])
    if not shown.any():
        return torch.empty(0, dtype=torch.float64)
    frame = stand_in(form.form, view)
    rows = [encoder.embed_images(cut_crops(frame, form.boxes[shown], side, grey))]
    if not shown.all():
        rest = cut_crops(frame.detach(), form.boxes[~shown], side, grey)
        rows.append(encoder.encode_images(rest).clone())
    # The scalings' derivatives overflow in float32 where the kernel itself does not.
    return meter.patch_distances(torch.cat(rows).double())[: len(rows[0])]


def stand_in(form: Form, picture: Tensor) -> Tensor:
    """The frame `[3, h, w]` of a form of a picture, float `[3, H, W]` in [0, 1]; differentiable.

    A frame that a processor makes differs from its stand-in by the filter and the colour of the
    padding.
    """
    if form.pixels is None:
        return form.render(picture)
    x0, y0 = (math.floor(edge) for edge in form.box[:2])
    x1, y1 = (math.ceil(edge) for edge in form.box[2:])
    height, width = picture.shape[1:]
    beyond = [max(-x0, 0), max(x1 - width, 0), max(-y0, 0), max(y1 - height, 0)]
    shown = picture[:, max(y0, 0) : y1, max(x0, 0) : x1]
    part = functional.pad(shown, beyond, value=PADDING / 255.0)
    return resized(part[None], form.height, form.width)[0]


def _marked(
    meter: Meter, target: Target, thresholds: Thresholds, view_seed: str
) -> NDArray[np.bool_]:
    """`[H, W]`: the things, and the middle of other patches near the threshold."""
    marked = np.zeros((target.image.height, target.image.width), dtype=np.bool_)
    for x0, y0, x1, y1 in target.boxes:
        marked[y0:y1, x0:x1] = True
    evidence = meter.distances(target.image, view_seed).evidence
    limits = np.array([thresholds(form) for form in evidence.patch_forms])
    near = evidence.patch_distances <= _MARGIN * limits
    for x0, y0, x1, y1 in evidence.patch_boxes[near].tolist():
        marked[(y0 + y1) // 2, (x0 + x1) // 2] = True
    return marked


def to_tensor(image: CanonicalImage) -> Tensor:
    """Float `[3, H, W]` in [0, 1]."""
    return channels_first(image.pixels) / 255.0


def from_tensor(pixels: Tensor, source: str) -> CanonicalImage:
    """The picture, rounded to 8 bits."""
    levels = (pixels.detach().clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
    return CanonicalImage(levels.permute(1, 2, 0).contiguous().numpy(), source)
