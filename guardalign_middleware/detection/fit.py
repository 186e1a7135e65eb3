"""Fit the thresholds of a detector to measured safe and unsafe images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from guardalign_middleware.detection.conformal import (
    check_bounds,
    check_categories,
    fit_by_category,
    fit_by_form,
    fit_pair,
)
from guardalign_middleware.detection.detector import Detector
from guardalign_middleware.detection.image_distances import FormDistances, smallest_distances
from guardalign_middleware.detection.order_statistics import check_counts, retold
from guardalign_middleware.detection.profile import ThresholdProfile
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.types import CanonicalImage

ImageDistances = tuple[FormDistances, ...]
"""The smallest distances of one image in each form to each category, by each encoder."""


def measure(
    detector: Detector, image: CanonicalImage, *, view_seed: str | None = None
) -> ImageDistances:
    """Measure one image as `fit_profile` needs it.

    Raises:
        DetectionError: from `Detector.distances`.
    """
    measured = detector.distances(image, view_seed=view_seed)
    return tuple(smallest_distances(one.evidence) for one in measured)


def split_held_out(count: int, share: float, rng: np.random.Generator) -> tuple[list[int], int]:
    """An order of images drawn by `rng`, and how many of its first are held out of the fit."""
    return rng.permutation(count).tolist(), round(share * count)


def check_groups(
    detector: Detector,
    safe: int,
    unsafe: Mapping[str, int],
    max_false_alarm: float | None = 0.05,
    *,
    max_miss: float | None = None,
    per_category: bool = False,
    forms: int = 1,
    held_out: float = 0.0,
) -> None:
    """Reject what `fit_profile` cannot fit whatever is measured, before images are measured.

    Args:
        detector: that is to be fitted.
        safe: number of safe images.
        unsafe: numbers of unsafe images, in groups as for `fit_profile`.
        max_false_alarm: as for `fit_profile`.
        max_miss: as for `fit_profile`.
        per_category: as for `fit_profile`.
        forms: in which a picture is looked at.
        held_out: share of all images that these are left over from.

    Raises:
        ConfigError: a bound is no probability, there are too few images for one whatever their
            distances are, or a group has a name that is not a category.
    """
    check_bounds(max_false_alarm, max_miss)
    counts = {"": sum(unsafe.values())}
    ways = len(detector.meters)
    if per_category:
        categories = tuple(detector.meters[0].anchors.categories)
        check_categories(unsafe, categories)
        counts = {name: unsafe.get(name, 0) for name in categories}
        ways *= len(categories)
    share = None if max_false_alarm is None else max_false_alarm / ways
    for name, count in counts.items():
        try:
            check_counts(safe, count, share, max_miss, forms)
        except ConfigError as error:
            named = f"{name}: {error.message}" if name else error.message
            raise retold(error, named, held_out) from error


def with_held_out(
    profile: ThresholdProfile, safe: Sequence[ImageDistances], unsafe: Sequence[ImageDistances]
) -> ThresholdProfile:
    """The profile, with what its thresholds do to images that were left out of the fit."""
    flagged = sum(profile.flags(*image) for image in safe)
    missed = sum(not profile.flags(*image) for image in unsafe)
    fit = replace(
        profile.fit,
        held_out_safe=(flagged, len(safe)),
        held_out_unsafe=(missed, len(unsafe)),
    )
    return replace(profile, fit=fit)


def fit_profile(
    detector: Detector,
    safe: Sequence[ImageDistances],
    unsafe: Mapping[str, Sequence[ImageDistances]],
    max_false_alarm: float | None = 0.05,
    *,
    max_miss: float | None = None,
    per_category: bool = False,
) -> ThresholdProfile:
    """A profile that keeps the guaranteed error rates for this detector, with one encoder or two.

    Each form in which the detector looks at a picture gets its own threshold.

    Args:
        detector: what measured the images; its own profile is ignored.
        safe: `measure` of each safe image.
        unsafe: `measure` of each unsafe image, in groups; with `per_category`, groups are named
            after categories.
        max_false_alarm: α in (0, 1) for an image, or None for no guarantee.
        max_miss: β in (0, 1), or None for no guarantee.
        per_category: fit one threshold for each category, and form.

    Raises:
        ConfigError: there are too few images, no threshold keeps the bounds, or a group has
            a name that is not a category.
    """
    all_unsafe = [image for images in unsafe.values() for image in images]

    def fit_one(
        number: int, max_false_alarm: float | None, max_miss: float | None
    ) -> ThresholdProfile:
        meter = detector.meters[number]
        if per_category:
            return fit_by_category(
                [image[number] for image in safe],
                {name: [image[number] for image in images] for name, images in unsafe.items()},
                tuple(meter.anchors.categories),
                max_false_alarm,
                max_miss=max_miss,
                binding=meter.binding,
            )
        return fit_by_form(
            [image[number] for image in safe],
            [image[number] for image in all_unsafe],
            max_false_alarm,
            max_miss=max_miss,
            binding=meter.binding,
        )

    if len(detector.meters) == 1:
        return fit_one(0, max_false_alarm, max_miss)
    return fit_pair(fit_one, safe, all_unsafe, max_false_alarm, max_miss=max_miss)
