"""Counter-measures to compare: other ways to configure the detector."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.config import DefenceConfig, ViewName
from guardalign_middleware.detection import Detector, ThresholdProfile
from guardalign_middleware.detection.fit import measure
from guardalign_middleware.detection.plan import view_patches
from guardalign_middleware.evaluation.attacks.target import Crops
from guardalign_middleware.types import CanonicalImage


@dataclass(frozen=True)
class Defence:
    """A counter-measure.

    Attributes:
        name: its name in the table.
        views: the views of each image.
        overlap: of the crops; None = the configured one.
        second: whether the configured second encoder takes part.
    """

    name: str
    views: tuple[ViewName, ...] = ("as_is",)
    overlap: float | None = None
    second: bool = False

    def applied(self, detector: Detector) -> Detector:
        """The detector with this counter-measure instead of its own; without a profile."""
        config = detector.config
        patches = config.patches
        if self.overlap is not None:
            # A budget that lets all crops be as fine as they are without the counter-measure.
            closer = ((1.0 - patches.overlap) / (1.0 - self.overlap)) ** 2
            budget = math.ceil(patches.max_crops * max(closer, 1.0))
            changed = {"overlap": self.overlap, "max_crops": budget}
            patches = patches.model_copy(update=changed)
        other = config.defence.second if self.second else None
        defence = DefenceConfig(views=self.views, second=other)
        changes = {"patches": patches, "defence": defence, "profile": None}
        first, *rest = [(meter.encoder, meter.anchors) for meter in detector.meters]
        second = rest[0] if rest and self.second else None
        return Detector.from_parts(
            *first,
            config.model_copy(update=changes),
            second=second,
            model_forms=detector.meters[0].look.model_forms,
        )


NO_DEFENCE = Defence("none")
DEFENCES = (
    NO_DEFENCE,
    Defence("random crop offsets", ("shifted",)),
    Defence("a second, random grid", ("as_is", "shifted")),
    Defence("as is, mirrored, softened", ("as_is", "mirrored", "softened")),
    Defence("overlap 0.75", overlap=0.75),
)


def defences_for(detector: Detector, *, compare: bool = True) -> tuple[Defence, ...]:
    """The counter-measures to measure: none, the configured ones, and others to compare with.

    Args:
        detector: the detector as configured.
        compare: include all of `DEFENCES`, and the second encoder on its own.
    """
    views = detector.config.defence.views
    second = len(detector.meters) > 1
    known = (*DEFENCES, *([Defence("two encoders", second=True)] if second else []))
    same = [one for one in known if (one.views, one.overlap, one.second) == (views, None, second)]
    own = same or [Defence("as configured", views, second=second)]
    return tuple(dict.fromkeys((*(known if compare else (NO_DEFENCE,)), *own)))


def flagged(
    detector: Detector, profile: ThresholdProfile, image: CanonicalImage, view_seed: str
) -> bool:
    """Whether a detector flags an image, at the thresholds of a profile it need not be bound to.

    Args:
        detector: with both encoders of the profile, or the first alone.
        profile: the thresholds.
        image: the image.
        view_seed: seed of its random views.
    """
    thresholds = profile if len(detector.meters) > 1 else replace(profile, second=None)
    return thresholds.flags(*measure(detector, image, view_seed=view_seed))


def patches_of(detector: Detector, image: CanonicalImage, view_seed: str) -> int:
    """Number of patches that a scan of the image embeds, over all views and encoders."""
    return sum(
        len(form.boxes)
        for meter in detector.meters
        for view in meter.views_of(image.width, image.height, view_seed)
        for form in view_patches(image, view, meter.look)
    )


def smallest_crops(detector: Detector) -> Crops:
    """The grid that an attacker who knows the configuration works against.

    It is that of the finest level of the first encoder's resampled forms, or where there is none,
    of the forms that the runner's processor makes.
    """
    look = detector.meters[0].look

    def crops(width: int, height: int) -> NDArray[np.int64]:
        forms = look.resampled(width, height)
        if not forms:
            forms = look.forms_of(CanonicalImage(np.zeros((height, width, 3), dtype=np.uint8)))
        finest = []
        for form in forms:
            boxes = look.crops_of(form)
            sides = boxes[:, 2] - boxes[:, 0]
            size = math.prod(form.scale) * int(sides.min()) ** 2
            finest.append((size, form.to_image(boxes[sides == sides.min()], width, height)))
        return min(finest, key=lambda pair: pair[0])[1]

    return crops
