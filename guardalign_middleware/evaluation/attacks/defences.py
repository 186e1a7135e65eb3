"""Counter-measures to compare: other ways to configure the detector."""

from __future__ import annotations

from dataclasses import dataclass, replace

from guardalign_middleware.config import DefenceConfig, ViewName
from guardalign_middleware.detection import Detector, ThresholdProfile
from guardalign_middleware.detection.plan import view_patches
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
            patches = patches.model_copy(update={"overlap": self.overlap})
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
    measured = detector.distances(image, view_seed=view_seed)
    return thresholds.flags(*(one.by_category() for one in measured))


def patches_of(detector: Detector, image: CanonicalImage, view_seed: str) -> int:
    """Number of patches that a scan of the image embeds, over all views and encoders."""
    return sum(
        len(form.boxes)
        for meter in detector.meters
        for view in meter.views_of(image.width, image.height, view_seed)
        for form in view_patches(image, view, meter.look)
    )
