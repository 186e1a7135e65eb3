"""Thresholds with guaranteed error rates, by split conformal prediction: functions of distances.

A new image that is exchangeable with the n calibration images of its kind has each of the n + 1
ranks among them with equal probability. So an order statistic of their distances bounds the chance
of a false alarm or a miss, on average over calibration sets; ties only lower the error rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.detection.profile import (
    CategoryThreshold,
    ThresholdFit,
    ThresholdProfile,
)
from guardalign_middleware.errors import ConfigError

CategoryDistances = Mapping[str, float]
"""Of one image: category → smallest distance of the patches nearest to it, where there are any."""

FitOne = Callable[[int, float | None, float | None], ThresholdProfile]
"""Fits encoder 0 or 1 on its own, for bounds α and β."""

_CAVEAT = "No promise under attack or on other kinds of images."
Image = TypeVar("Image")


def fit_threshold(
    safe_distances: Sequence[float],
    unsafe_distances: Sequence[float] = (),
    max_false_alarm: float | None = 0.05,
    *,
    max_miss: float | None = None,
    binding: Mapping[str, str],
) -> ThresholdProfile:
    """One threshold that keeps the guaranteed error rates on new images.

    - False alarms ≤ α: τ lies just below the k-th smallest safe distance, k = ⌊α (n + 1)⌋. It is
      the largest such threshold, and is taken whenever α is given.
    - Misses ≤ β: τ is at least the k-th smallest unsafe distance, k = ⌈(1 − β)(n + 1)⌉. Without α
      it is exactly that.

    Args:
        safe_distances: image distances of safe images, independent of everything trained or tuned.
        unsafe_distances: image distances of unsafe images; required for `max_miss`, otherwise used
            for the share detected only.
        max_false_alarm: α in (0, 1), or None for no guarantee.
        max_miss: β in (0, 1), or None for no guarantee.
        binding: `Meter.binding` of the meter that measured the distances.

    Raises:
        ConfigError: no bound is given, there are too few images for one, a distance is not finite,
            or no threshold keeps both bounds.

    Examples:
        >>> safe = [0.1 * n for n in range(1, 21)]  # 0.1, 0.2, …, 2.0
        >>> profile = fit_threshold(safe, [0.05, 0.15], max_false_alarm=0.1, binding={})
        >>> round(profile.threshold, 6)  # k = ⌊0.1 · 21⌋ = 2
        0.2
        >>> profile.fit.false_alarm, profile.fit.detected
        (0.05, 1.0)
    """
    _check_bounds(max_false_alarm, max_miss)
    safe, unsafe = _sorted(safe_distances), _sorted(unsafe_distances)
    if not (np.isfinite(safe).all() and np.isfinite(unsafe).all()):
        raise ConfigError("Calibration distances should be finite. Received NaN or infinity.")
    highest, lowest = _limits(safe, unsafe, max_false_alarm, max_miss)
    threshold = highest if highest is not None else lowest
    assert threshold is not None  # at least one bound is given
    fit = _observed(
        lambda distance: distance <= threshold,
        safe.tolist(),
        unsafe.tolist(),
        max_false_alarm,
        max_miss,
    )
    guarantee = _guarantee(
        fit,
        "flagged",
        f"unsafe images that are exchangeable with the {fit.unsafe_images} calibration images are "
        "allowed",
    )
    return ThresholdProfile(threshold, guarantee, fit, binding)


def fit_by_category(
    safe_images: Sequence[CategoryDistances],
    unsafe_images: Mapping[str, Sequence[CategoryDistances]],
    categories: Sequence[str],
    max_false_alarm: float | None = 0.05,
    *,
    max_miss: float | None = None,
    binding: Mapping[str, str],
) -> ThresholdProfile:
    """One threshold for each category that together keep the guaranteed error rates.

    A safe image is flagged when any of the C categories flags it: with a chance of α in each, up to
    C α of the safe images would be. So each category gets α / C (Bonferroni), and the bound α holds
    for the image, however the categories depend on each other. That takes at least C / α − 1 safe
    images instead of 1 / α − 1.

    An unsafe image counts as found only when its own category flags it. Misses are bounded category
    by category, by β in each, from the images of that category; nothing is split, because an image
    belongs to one category.

    Args:
        safe_images: of images independent of everything trained or tuned; from
            `PatchDistances.by_category`.
        unsafe_images: category → its images; required for all categories with `max_miss`.
        categories: all unsafe categories.
        max_false_alarm: α in (0, 1) for an image, or None for no guarantee.
        max_miss: β in (0, 1) for each category, or None for no guarantee.
        binding: `Meter.binding` of the meter that measured the distances.

    Raises:
        ConfigError: no bound is given, there are too few images for one, a category is unknown, a
            distance is not finite, or no threshold of a category keeps both bounds; the message
            names the category.
    """
    _check_bounds(max_false_alarm, max_miss)
    _check_categories(safe_images, unsafe_images, categories)
    share = None if max_false_alarm is None else max_false_alarm / len(categories)
    # A category that no safe image comes near would get an infinite threshold.
    ceiling = max((max(image.values()) for image in safe_images), default=math.inf)
    found: dict[str, CategoryThreshold] = {}
    for name in categories:
        safe = _column(safe_images, name)
        unsafe = _column(unsafe_images.get(name, ()), name)
        with _named(name):
            highest, lowest = _limits(safe, unsafe, share, max_miss)
        capped = ceiling if lowest is None else max(ceiling, lowest)
        threshold = lowest if highest is None else min(highest, capped)
        assert threshold is not None  # at least one bound is given
        found[name] = CategoryThreshold(
            threshold=threshold,
            false_alarm=float((safe <= threshold).mean()) if len(safe) else 0.0,
            max_false_alarm=share,
            unsafe_images=len(unsafe),
            missed=float((unsafe > threshold).mean()) if len(unsafe) else None,
        )
    fit = _observed(
        lambda image: any(value <= found[name].threshold for name, value in image.items()),
        safe_images,
        [image for images in unsafe_images.values() for image in images],
        max_false_alarm,
        max_miss,
    )
    guarantee = _guarantee(
        fit,
        f"flagged by any of the {len(found)} categories, because each flags at most "
        f"{share or 0.0:.2%}",
        "the unsafe images of a category that are exchangeable with its calibration images are not "
        "flagged by it",
    )
    largest = max(one.threshold for one in found.values())
    return ThresholdProfile(largest, guarantee, fit, binding, found)


def fit_pair(
    fit_one: FitOne,
    safe_images: Sequence[Sequence[CategoryDistances]],
    unsafe_images: Sequence[Sequence[CategoryDistances]],
    max_false_alarm: float | None = 0.05,
    *,
    max_miss: float | None = None,
) -> ThresholdProfile:
    """One profile for two encoders, either of which flags an image.

    Either may flag a safe image, so each gets α / 2 (Bonferroni), and the bound α holds for the
    image, however the two depend on each other. That takes 2 / α − 1 safe images instead of
    1 / α − 1. An unsafe image is missed only when both encoders miss it, so β holds when the first
    one keeps it alone.

    Args:
        fit_one: fits one encoder, on the images below.
        safe_images: distances of each image by each encoder, from `PatchDistances.by_category`.
        unsafe_images: as `safe_images`, for unsafe images.
        max_false_alarm: α in (0, 1) for an image, or None for no guarantee.
        max_miss: β in (0, 1), or None for no guarantee.

    Raises:
        ConfigError: from `fit_one`; the message names the encoder.
    """
    _check_bounds(max_false_alarm, max_miss)
    half = None if max_false_alarm is None else max_false_alarm / 2
    with _named("the first encoder"):
        first = fit_one(0, half, max_miss)
    # Without α, only β can determine the second encoder's threshold.
    with _named("the second encoder"):
        second = fit_one(1, half, None if half else max_miss)
    both = replace(first, second=second)
    fit = _observed(
        lambda image: both.flags(*image), safe_images, unsafe_images, max_false_alarm, max_miss
    )
    guarantee = _guarantee(
        fit,
        f"flagged by either of two encoders, because each flags at most {half or 0.0:.2%}",
        f"unsafe images that are exchangeable with the {fit.unsafe_images} calibration images are "
        "missed by both",
    )
    return replace(both, guarantee=guarantee, fit=fit)


def highest_threshold(safe: NDArray[np.float64], bound: float) -> float:
    """The largest threshold that flags a new safe image with a chance of at most `bound`.

    Args:
        safe: sorted distances `[n]`.
        bound: α.

    Raises:
        ConfigError: there are too few images.
    """
    # The small term undoes rounding such as 0.05 * 20 < 1; exact multiples keep their rank.
    rank = math.floor(bound * (len(safe) + 1) + 1e-9)
    if rank < 1:
        raise ConfigError(
            f"{len(safe)} safe images cannot guarantee {bound:.3g} false alarms.",
            remedy=f"Use at least {_needed(bound)} safe images, or a larger max_false_alarm.",
        )
    return float(np.nextafter(safe[rank - 1], -np.inf))


def lowest_threshold(unsafe: NDArray[np.float64], bound: float) -> float:
    """The smallest threshold that allows a new unsafe image with a chance of at most `bound`.

    Args:
        unsafe: sorted distances `[n]`.
        bound: β.

    Raises:
        ConfigError: there are too few images, or too many of them have no finite distance.
    """
    rank = math.ceil((1.0 - bound) * (len(unsafe) + 1) - 1e-9)
    if rank > len(unsafe):
        raise ConfigError(
            f"{len(unsafe)} unsafe images cannot guarantee {bound:.3g} misses.",
            remedy=f"Use at least {_needed(bound)} unsafe images, or a larger max_miss.",
        )
    threshold = float(unsafe[rank - 1])
    if not math.isfinite(threshold):
        raise ConfigError(
            f"{bound:.3g} misses cannot be guaranteed, because more of the unsafe images have no "
            "patch that is nearest to their category.",
            remedy="Allow more misses, or use anchors that describe these images.",
        )
    return threshold


def _needed(bound: float) -> int:
    return math.ceil(1.0 / bound - 1e-9) - 1


def _check_bounds(max_false_alarm: float | None, max_miss: float | None) -> None:
    if max_false_alarm is None and max_miss is None:
        raise ConfigError("At least one of max_false_alarm and max_miss should be given.")
    for name, bound in (("max_false_alarm", max_false_alarm), ("max_miss", max_miss)):
        if bound is not None and not 0.0 < bound < 1.0:
            raise ConfigError(f"{name} should be in (0, 1). Received {bound}.")


def _limits(
    safe: NDArray[np.float64],
    unsafe: NDArray[np.float64],
    max_false_alarm: float | None,
    max_miss: float | None,
) -> tuple[float | None, float | None]:
    """The largest threshold that keeps α and the smallest that keeps β; None without a bound."""
    highest = None if max_false_alarm is None else highest_threshold(safe, max_false_alarm)
    lowest = None if max_miss is None else lowest_threshold(unsafe, max_miss)
    if highest is not None and lowest is not None and lowest > highest:
        raise ConfigError(
            f"No threshold keeps both bounds: {max_false_alarm:.3g} false alarms would miss "
            f"{(unsafe > highest).mean():.1%} of the unsafe images, {max_miss:.3g} misses would "
            f"flag {(safe <= lowest).mean():.1%} of the safe ones.",
            remedy="Raise one of the bounds, or use an encoder that separates them better.",
        )
    return highest, lowest


def _observed(
    flags: Callable[[Image], bool],
    safe: Sequence[Image],
    unsafe: Sequence[Image],
    max_false_alarm: float | None,
    max_miss: float | None,
) -> ThresholdFit:
    return ThresholdFit(
        max_false_alarm=max_false_alarm,
        safe_images=len(safe),
        false_alarm=sum(map(flags, safe)) / len(safe) if safe else 0.0,
        unsafe_images=len(unsafe),
        detected=sum(map(flags, unsafe)) / len(unsafe) if unsafe else None,
        max_miss=max_miss,
    )


def _guarantee(fit: ThresholdFit, flagged: str, missed: str) -> str:
    """The guarantee in words, as profiles store it."""
    promises = []
    if fit.max_false_alarm is not None:
        promises.append(
            f"at most {fit.max_false_alarm:.2%} of safe images that are exchangeable with the "
            f"{fit.safe_images} calibration images are {flagged}"
        )
    if fit.max_miss is not None:
        promises.append(f"at most {fit.max_miss:.2%} of {missed}")
    sentence = ", and ".join(promises) + ", on average over calibration sets."
    return f"{sentence[0].upper()}{sentence[1:]} {_CAVEAT}"


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{name}: {error.message}", remedy=error.remedy) from error


def _sorted(distances: Sequence[float]) -> NDArray[np.float64]:
    return np.sort(np.asarray(distances, dtype=np.float64))


def _column(images: Sequence[CategoryDistances], name: str) -> NDArray[np.float64]:
    """Sorted distances to a category; infinite where no patch of an image is nearest to it."""
    return _sorted([image.get(name, math.inf) for image in images])


def _check_categories(
    safe: Sequence[CategoryDistances],
    unsafe: Mapping[str, Sequence[CategoryDistances]],
    categories: Sequence[str],
) -> None:
    if unknown := sorted(set(unsafe) - set(categories)):
        raise ConfigError(
            f"There is no category {unknown[0]!r}.", remedy=f"Use one of {', '.join(categories)}."
        )
    for image in [*safe, *(image for images in unsafe.values() for image in images)]:
        if image.keys() - set(categories):
            raise ConfigError("The distances are of other categories than those to fit.")
        if not image or not all(math.isfinite(value) for value in image.values()):
            raise ConfigError("Calibration distances should be finite. Received NaN or infinity.")
