"""Threshold profiles with guaranteed error rates, by conformal prediction: functions of distances.

A new image that is exchangeable with the n calibration images of its kind has each of the n + 1
ranks among them with equal probability. So an order statistic of their distances bounds the chance
of a false alarm or a miss, on average over calibration sets; ties only lower the error rates.
`order_statistics` has the formulas, also for several forms of a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.detection.image_distances import (
    ANY_FORM,
    FormDistances,
    distance_table,
    largest_distances,
    measured_forms,
)
from guardalign_middleware.detection.order_statistics import Distances, fit_thresholds, retold
from guardalign_middleware.detection.profile import (
    CategoryThreshold,
    FormThreshold,
    ThresholdFit,
    ThresholdProfile,
)
from guardalign_middleware.errors import ConfigError

FitOne = Callable[[int, float | None, float | None], ThresholdProfile]
"""Fits encoder 0 or 1 on its own, for bounds α and β."""

_CAVEAT = "No promise under attack or on other kinds of images."


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
    safe, unsafe = (
        [{ANY_FORM: {ANY_FORM: value}} for value in group]
        for group in (safe_distances, unsafe_distances)
    )
    return fit_by_form(safe, unsafe, max_false_alarm, max_miss=max_miss, binding=binding)


def fit_by_form(
    safe_images: Sequence[FormDistances],
    unsafe_images: Sequence[FormDistances],
    max_false_alarm: float | None = 0.05,
    *,
    max_miss: float | None = None,
    binding: Mapping[str, str],
) -> ThresholdProfile:
    """One threshold for each form of a picture that together keep the guaranteed error rates.

    An image is flagged when any form flags it. The thresholds lie on one curve of equal quantiles
    of the safe images; `order_statistics` has the formula and the proof. F / α − 1 safe images are
    always enough, fewer where the forms agree. With one form this is `fit_threshold` of the
    smallest distances.

    Args:
        safe_images: of images independent of everything trained or tuned; from `fit.measure`.
        unsafe_images: as `safe_images`; required for `max_miss`.
        max_false_alarm: α in (0, 1) for an image, or None for no guarantee.
        max_miss: β in (0, 1), or None for no guarantee. On its own, it needs safe images too when
            there are several forms.
        binding: `Meter.binding` of the meter that measured the distances.

    Raises:
        ConfigError: no bound is given, there are too few images for one, a distance is not finite,
            a form has no safe image, or no thresholds keep both bounds.
    """
    check_bounds(max_false_alarm, max_miss)
    forms = measured_forms(safe_images, unsafe_images)
    safe, unsafe = distance_table(safe_images, forms), distance_table(unsafe_images, forms)
    found = fit_thresholds(
        safe, unsafe, max_false_alarm, max_miss, ceiling=largest_distances(safe_images, forms)
    )
    fit = _observed(_flagged(safe, found), _flagged(unsafe, found), max_false_alarm, max_miss)
    guarantee = _guarantee(
        fit,
        _flagged_in(forms),
        f"unsafe images that are exchangeable with the {fit.unsafe_images} calibration images are "
        "allowed",
    )
    values = found.tolist()
    by_form = {form: FormThreshold(value) for form, value in zip(forms, values, strict=True)}
    return ThresholdProfile(
        max(values), guarantee, fit, binding, by_form=by_form if len(forms) > 1 else {}
    )


def fit_by_category(
    safe_images: Sequence[FormDistances],
    unsafe_images: Mapping[str, Sequence[FormDistances]],
    categories: Sequence[str],
    max_false_alarm: float | None = 0.05,
    *,
    max_miss: float | None = None,
    binding: Mapping[str, str],
) -> ThresholdProfile:
    """Thresholds for each category, and form, that together keep the guaranteed error rates.

    A safe image is flagged when any of the C categories flags it: with a chance of α in each, up to
    C α of the safe images would be. So each category gets α / C (Bonferroni), and the bound α holds
    for the image, however the categories depend on each other. That takes at least C / α − 1 safe
    images instead of 1 / α − 1. Within a category, the thresholds of several forms are those of
    `fit_by_form`.

    An unsafe image counts as found only when its own category flags it. Misses are bounded category
    by category, by β in each, from the images of that category; nothing is split, because an image
    belongs to one category.

    Args:
        safe_images: of images independent of everything trained or tuned; from `fit.measure`.
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
    check_bounds(max_false_alarm, max_miss)
    everything = [image for images in unsafe_images.values() for image in images]
    forms = measured_forms(safe_images, everything)
    check_categories(unsafe_images, categories)
    if any(
        nearest.keys() - set(categories)
        for image in (*safe_images, *everything)
        for nearest in image.values()
    ):
        raise ConfigError("The distances are of other categories than those to fit.")
    share = None if max_false_alarm is None else max_false_alarm / len(categories)
    # A category that no safe image comes near would get an infinite threshold.
    ceiling = largest_distances(safe_images, forms)
    by_category: dict[str, CategoryThreshold] = {}
    by_form: dict[str, dict[str, float]] = {form: {} for form in forms}
    alarms = np.zeros(len(safe_images), dtype=bool)
    detected = np.zeros(len(everything), dtype=bool)
    for name in categories:
        safe = distance_table(safe_images, forms, name)
        unsafe = distance_table(unsafe_images.get(name, ()), forms, name)
        with _named(name):
            found = fit_thresholds(safe, unsafe, share, max_miss, ceiling=ceiling)
        flagged, own = _flagged(safe, found), _flagged(unsafe, found)
        by_category[name] = CategoryThreshold(
            threshold=float(found.max()),
            false_alarm=float(flagged.mean()) if len(safe) else 0.0,
            max_false_alarm=share,
            unsafe_images=len(unsafe),
            missed=float((~own).mean()) if len(unsafe) else None,
        )
        for form, value in zip(forms, found.tolist(), strict=True):
            by_form[form][name] = value
        alarms |= flagged
        detected |= _flagged(distance_table(everything, forms, name), found)
    fit = _observed(alarms, detected, max_false_alarm, max_miss)
    guarantee = _guarantee(
        fit,
        f"{_flagged_in(forms)} by any of the {len(categories)} categories, because each "
        f"flags at most {share or 0.0:.2%}",
        "the unsafe images of a category that are exchangeable with its calibration images are not "
        "flagged by it",
    )
    several = {
        form: FormThreshold(max(values.values()), values) for form, values in by_form.items()
    }
    return ThresholdProfile(
        max(one.threshold for one in by_category.values()),
        guarantee,
        fit,
        binding,
        by_category,
        several if len(forms) > 1 else {},
    )


def fit_pair(
    fit_one: FitOne,
    safe_images: Sequence[Sequence[FormDistances]],
    unsafe_images: Sequence[Sequence[FormDistances]],
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
        safe_images: distances of each image by each encoder, from `fit.measure`.
        unsafe_images: as `safe_images`, for unsafe images.
        max_false_alarm: α in (0, 1) for an image, or None for no guarantee.
        max_miss: β in (0, 1), or None for no guarantee.

    Raises:
        ConfigError: from `fit_one`; the message names the encoder.
    """
    check_bounds(max_false_alarm, max_miss)
    half = None if max_false_alarm is None else max_false_alarm / 2
    with _named("the first encoder"):
        first = fit_one(0, half, max_miss)
    # Without α, only β can determine the second encoder's threshold.
    with _named("the second encoder"):
        second = fit_one(1, half, None if half else max_miss)
    both = replace(first, second=second)
    safe, unsafe = (
        np.array([both.flags(*image) for image in images], dtype=bool)
        for images in (safe_images, unsafe_images)
    )
    fit = _observed(safe, unsafe, max_false_alarm, max_miss)
    guarantee = _guarantee(
        fit,
        f"flagged by either of two encoders, because each flags at most {half or 0.0:.2%}",
        f"unsafe images that are exchangeable with the {fit.unsafe_images} calibration images are "
        "missed by both",
    )
    return replace(both, guarantee=guarantee, fit=fit)


def check_bounds(max_false_alarm: float | None, max_miss: float | None) -> None:
    """Reject bounds that are not probabilities.

    Raises:
        ConfigError: none is given, or one is out of range.
    """
    if max_false_alarm is None and max_miss is None:
        raise ConfigError("At least one of max_false_alarm and max_miss should be given.")
    for name, bound in (("max_false_alarm", max_false_alarm), ("max_miss", max_miss)):
        if bound is not None and not 0.0 < bound < 1.0:
            raise ConfigError(f"{name} should be in (0, 1). Received {bound}.")


def _observed(
    safe: NDArray[np.bool_],
    unsafe: NDArray[np.bool_],
    max_false_alarm: float | None,
    max_miss: float | None,
) -> ThresholdFit:
    """The record of a fit, from which images its thresholds flag."""
    return ThresholdFit(
        max_false_alarm=max_false_alarm,
        safe_images=len(safe),
        false_alarm=float(safe.mean()) if len(safe) else 0.0,
        unsafe_images=len(unsafe),
        detected=float(unsafe.mean()) if len(unsafe) else None,
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
        raise retold(error, f"{name}: {error.message}") from error


def _flagged_in(forms: Sequence[str]) -> str:
    return "flagged" if len(forms) == 1 else f"flagged in any of {len(forms)} forms"


def _flagged(distances: Distances, thresholds: NDArray[np.float64]) -> NDArray[np.bool_]:
    flagged: NDArray[np.bool_] = np.any(distances <= thresholds, axis=1)
    return flagged


def check_categories(names: Iterable[str], categories: Sequence[str]) -> None:
    """Reject a name that is not a category.

    Raises:
        ConfigError: there is one.
    """
    if unknown := sorted(set(names) - set(categories)):
        raise ConfigError(
            f"There is no category {unknown[0]!r}.", remedy=f"Use one of {', '.join(categories)}."
        )
