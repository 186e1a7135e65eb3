"""A threshold for each category, so that one that matters more can be given more of the errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.detection.profile import (
    CAVEAT,
    Calibration,
    CategoryThreshold,
    ThresholdProfile,
    check_bounds,
    highest_threshold,
    lowest_threshold,
)
from guardalign_middleware.errors import ConfigError

Distances = Mapping[str, float]
"""Of one image: category → smallest distance of the patches nearest to it, where there are any."""


def calibrate_by_category(
    safe_images: Sequence[Distances],
    unsafe_images: Mapping[str, Sequence[Distances]],
    categories: Sequence[str],
    max_false_alarm: float | None = 0.05,
    *,
    max_miss: float | None = None,
    binding: Mapping[str, str],
) -> ThresholdProfile:
    """Thresholds that keep the promised error rates on new images (split conformal, each category).

    A safe image is flagged when any of the C categories flags it: with a chance of α in each, up to
    C α of the safe images would be. So each category gets α / C (Bonferroni), and the promise of α
    holds for the image as a whole, however the categories depend on each other. It costs images:
    C / α − 1 safe ones at least, instead of 1 / α − 1.

    An unsafe image counts as found only when the category it is of flags it. Misses are promised
    category by category, β in each, from the images of that category; nothing is split, because an
    image is of one category.

    Args:
        safe_images: of images independent of everything trained or tuned; from
            `PatchDistances.by_category`.
        unsafe_images: category → images of it; all categories are needed for `max_miss`.
        categories: all unsafe categories.
        max_false_alarm: α in (0, 1) for an image, or None for no such promise.
        max_miss: β in (0, 1) for each category, or None for no such promise.
        binding: `Detector.binding` of the detector that measured the distances.

    Raises:
        ConfigError: no rate is promised, too few images for one, an unknown category, a distance is
            not finite, or no threshold of a category keeps both promises; names the category.
    """
    check_bounds(max_false_alarm, max_miss)
    if max_false_alarm is None and max_miss is None:
        raise ConfigError("At least one of max_false_alarm and max_miss should be given.")
    _check(safe_images, unsafe_images, categories)
    share = None if max_false_alarm is None else max_false_alarm / len(categories)
    # A category that no safe image comes near would get an infinite threshold.
    ceiling = max((max(image.values()) for image in safe_images), default=math.inf)
    found = {}
    for name in categories:
        safe = _column(safe_images, name)
        unsafe = _column(unsafe_images.get(name, ()), name)
        threshold = _threshold(name, safe, unsafe, share, max_miss, ceiling)
        found[name] = CategoryThreshold(
            threshold=threshold,
            false_alarm=float((safe <= threshold).mean()) if len(safe) else 0.0,
            max_false_alarm=share,
            unsafe_images=len(unsafe),
            missed=float((unsafe > threshold).mean()) if len(unsafe) else None,
        )
    return _profile(found, safe_images, unsafe_images, max_false_alarm, max_miss, binding)


def _threshold(
    name: str,
    safe: NDArray[np.float64],
    unsafe: NDArray[np.float64],
    max_false_alarm: float | None,
    max_miss: float | None,
    ceiling: float,
) -> float:
    try:
        highest = None if max_false_alarm is None else highest_threshold(safe, max_false_alarm)
        lowest = None if max_miss is None else lowest_threshold(unsafe, max_miss)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error.message}", remedy=error.remedy) from error
    if lowest is not None and not math.isfinite(lowest):
        raise ConfigError(
            f"{name}: {max_miss:.3g} misses cannot be promised, because more of its unsafe images "
            "have no patch that is nearest to it.",
            remedy="Allow more misses, or use anchors that describe these images.",
        )
    if highest is None:
        assert lowest is not None  # one of them was asked for
        return lowest
    if lowest is not None and lowest > highest:
        raise ConfigError(
            f"{name}: no threshold keeps both promises: {max_false_alarm:.3g} false alarms by this "
            f"category would miss {(unsafe > highest).mean():.1%} of its unsafe images, "
            f"{max_miss:.3g} misses would flag {(safe <= lowest).mean():.1%} of the safe ones.",
            remedy="Allow more of one of them, or use an encoder that tells them apart better.",
        )
    return min(highest, ceiling if lowest is None else max(ceiling, lowest))


def _profile(
    found: Mapping[str, CategoryThreshold],
    safe: Sequence[Distances],
    unsafe: Mapping[str, Sequence[Distances]],
    max_false_alarm: float | None,
    max_miss: float | None,
    binding: Mapping[str, str],
) -> ThresholdProfile:
    largest = max(one.threshold for one in found.values())
    everything = [image for images in unsafe.values() for image in images]

    def share(images: Sequence[Distances]) -> float:
        flagged = (
            any(value <= found[name].threshold for name, value in image.items()) for image in images
        )
        return sum(flagged) / len(images)

    calibration = Calibration(
        max_false_alarm=max_false_alarm,
        safe_images=len(safe),
        false_alarm=share(safe) if safe else 0.0,
        unsafe_images=len(everything),
        detected=share(everything) if everything else None,
        max_miss=max_miss,
    )
    guarantee = _guarantee(calibration, len(found))
    return ThresholdProfile(largest, guarantee, calibration, binding, found)


def _guarantee(calibration: Calibration, categories: int) -> str:
    promises = []
    if calibration.max_false_alarm is not None:
        each = calibration.max_false_alarm / categories
        promises.append(
            f"At most {calibration.max_false_alarm:.2%} of safe images that are exchangeable with "
            f"the {calibration.safe_images} calibration images are flagged by any of the "
            f"{categories} categories, because each flags at most {each:.2%}"
        )
    if calibration.max_miss is not None:
        promises.append(
            f"at most {calibration.max_miss:.2%} of the unsafe images of a category that are "
            "exchangeable with its calibration images are not flagged by it"
        )
    sentence = ", and ".join(promises) + ", on average over calibration sets."
    return f"{sentence[0].upper()}{sentence[1:]} {CAVEAT}"


def _column(images: Sequence[Distances], name: str) -> NDArray[np.float64]:
    """Sorted; infinite where no patch of an image is nearest to the category."""
    return np.sort(np.array([image.get(name, math.inf) for image in images], dtype=np.float64))


def _check(
    safe: Sequence[Distances],
    unsafe: Mapping[str, Sequence[Distances]],
    categories: Sequence[str],
) -> None:
    if unknown := sorted(set(unsafe) - set(categories)):
        raise ConfigError(
            f"There is no category {unknown[0]!r}.", remedy=f"Use one of {', '.join(categories)}."
        )
    for image in [*safe, *(image for images in unsafe.values() for image in images)]:
        if image.keys() - set(categories):
            raise ConfigError("The distances are of other categories than those to calibrate.")
        if not image or not all(math.isfinite(value) for value in image.values()):
            raise ConfigError("Calibration distances should be finite. Received NaN or infinity.")
