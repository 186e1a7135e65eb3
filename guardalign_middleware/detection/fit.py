"""The threshold profile of a detector, from what its encoders measure of safe and unsafe images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from guardalign_middleware.detection.category_threshold import calibrate_by_category
from guardalign_middleware.detection.detector import Detector
from guardalign_middleware.detection.pair_threshold import Distances, calibrate_pair
from guardalign_middleware.detection.profile import ThresholdProfile, calibrate_threshold
from guardalign_middleware.types import CanonicalImage

Measured = tuple[Distances, ...]
"""The distance of one image to each category, by each encoder."""


def measure(detector: Detector, image: CanonicalImage, *, draw: str | None = None) -> Measured:
    """What calibration asks of an image.

    Args:
        detector: with all views and encoders that are calibrated.
        image: safe or unsafe.
        draw: of the random views.

    Raises:
        DetectionError: as of `Detector.distances`.
    """
    return tuple(member.distances(image, draw=draw).by_category() for member in detector.members)


def calibrate_detector(
    detector: Detector,
    safe: Sequence[Measured],
    unsafe: Mapping[str, Sequence[Measured]],
    max_false_alarm: float | None = 0.05,
    *,
    max_miss: float | None = None,
    per_category: bool = False,
) -> ThresholdProfile:
    """The profile that keeps the promises for this detector, with one encoder or two.

    Args:
        detector: its own profile is ignored.
        safe: what `measure` says of each.
        unsafe: likewise, in groups; with `per_category` named like their categories.
        max_false_alarm: α in (0, 1) for an image, or None for no such promise.
        max_miss: β in (0, 1), or None for no such promise.
        per_category: a threshold for each category.

    Raises:
        ConfigError: there are too few images, no threshold keeps the promises, or a group has a
            name that is no category's.
    """
    all_unsafe = [image for images in unsafe.values() for image in images]

    def calibrate(
        member: int, max_false_alarm: float | None, max_miss: float | None
    ) -> ThresholdProfile:
        own = detector.members[member]
        if per_category:
            return calibrate_by_category(
                [image[member] for image in safe],
                {name: [image[member] for image in images] for name, images in unsafe.items()},
                tuple(own.anchors.categories),
                max_false_alarm,
                max_miss=max_miss,
                binding=own.binding,
            )
        return calibrate_threshold(
            [min(image[member].values()) for image in safe],
            [min(image[member].values()) for image in all_unsafe] or None,
            max_false_alarm,
            max_miss=max_miss,
            binding=own.binding,
        )

    if detector.second is None:
        return calibrate(0, max_false_alarm, max_miss)
    return calibrate_pair(calibrate, safe, all_unsafe, max_false_alarm, max_miss=max_miss)
