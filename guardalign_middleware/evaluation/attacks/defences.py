"""Counter-measures to compare: how else the detector could be configured to look."""

from __future__ import annotations

from dataclasses import dataclass, replace

from guardalign_middleware.config import DefenceConfig, ViewName
from guardalign_middleware.detection import Detector, ThresholdProfile
from guardalign_middleware.detection.views import look
from guardalign_middleware.types import CanonicalImage


@dataclass(frozen=True)
class Defence:
    """A counter-measure.

    Attributes:
        name: for the table.
        views: what is looked at.
        overlap: of the crops; None = the configured one.
        second: whether the configured second encoder looks too.
    """

    name: str
    views: tuple[ViewName, ...] = ("as_is",)
    overlap: float | None = None
    second: bool = False

    def applied(self, detector: Detector) -> Detector:
        """The detector with this counter-measure instead of its own ones; without a profile."""
        config = detector.config
        patches = config.patches
        if self.overlap is not None:
            patches = patches.model_copy(update={"overlap": self.overlap})
        other = config.defence.second if self.second else None
        defence = DefenceConfig(views=self.views, second=other)
        changes = {"patches": patches, "defence": defence, "profile": None}
        alone = replace(self, second=False)
        second = alone.applied(detector.second) if detector.second and self.second else None
        return Detector(
            detector.encoder, detector.anchors, config.model_copy(update=changes), second=second
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
    """What is measured: none of them, what is configured, and what it is compared with.

    Args:
        detector: as it is configured.
        compare: with all of the above, and with its second encoder alone.
    """
    views = detector.config.defence.views
    second = detector.second is not None
    known = (*DEFENCES, *([Defence("two encoders", second=True)] if second else []))
    same = [one for one in known if (one.views, one.overlap, one.second) == (views, None, second)]
    own = same or [Defence("as configured", views, second=second)]
    return tuple(dict.fromkeys((*(known if compare else (NO_DEFENCE,)), *own)))


def flagged(
    detector: Detector, profile: ThresholdProfile, image: CanonicalImage, draw: str
) -> bool:
    """Whether a detector finds something, at the thresholds of a profile it need not be bound to.

    Args:
        detector: with as many encoders as it likes to use of those of the profile.
        profile: the thresholds.
        image: to be looked at.
        draw: of its random views.
    """
    thresholds = profile if detector.second is not None else replace(profile, second=None)
    measured = (one.distances(image, draw=draw) for one in detector.members)
    return thresholds.flags(*(one.by_category() for one in measured))


def patches_of(detector: Detector, image: CanonicalImage, draw: str) -> int:
    """How many patches a scan of the image embeds, over all views and encoders."""
    return sum(
        len(look(image, view, one.config.patches).boxes)
        for one in detector.members
        for view in one.views_of(image.width, image.height, draw)
    )
