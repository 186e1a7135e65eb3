"""What thresholds are fitted to: the smallest distances of an image, by form and category."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.detection.order_statistics import Distances
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.types import Evidence

CategoryDistances = Mapping[str, float]
"""Category → smallest distance of the patches nearest to it, where there are any."""

FormDistances = Mapping[str, CategoryDistances]
"""Of one image: form → smallest distances in that form."""

ANY_FORM = "any"
"""The one form of distances that are measured without regard to forms."""


def distances_by_encoder(evidence: Evidence) -> tuple[FormDistances, ...]:
    """The smallest distances that each encoder measures of one image; none of an unscanned one."""
    count, second = len(evidence.patch_distances), evidence.second_from
    if not count:
        return ()
    if second is None:
        return (smallest_distances(evidence),)
    return (
        smallest_distances(evidence, slice(0, second)),
        smallest_distances(evidence, slice(second, count)),
    )


def smallest_distances(evidence: Evidence, patches: slice = slice(None)) -> FormDistances:
    """The smallest distances that an encoder measures of one image.

    Args:
        evidence: of the image.
        patches: those of the encoder.
    """
    found: dict[str, dict[str, float]] = {}
    rows = zip(
        evidence.patch_forms[patches],
        evidence.patch_categories[patches],
        evidence.patch_distances[patches].tolist(),
        strict=True,
    )
    for form, category, value in rows:
        nearest = found.setdefault(form, {})
        nearest[category] = min(value, nearest.get(category, value))
    return found


def measured_forms(*groups: Sequence[FormDistances]) -> list[str]:
    """The forms of all images, in a fixed order.

    Raises:
        ConfigError: an image has no distance, or one that is not finite.
    """
    images = [image for images in groups for image in images]
    for image in images:
        values = [value for nearest in image.values() for value in nearest.values()]
        if not values or not all(math.isfinite(value) for value in values):
            raise ConfigError("Calibration distances should be finite. Received NaN or infinity.")
    # Without any image, the error about too few of them is the next.
    return sorted({form for image in images for form in image}) or [ANY_FORM]


def distance_table(
    images: Sequence[FormDistances], forms: Sequence[str], category: str | None = None
) -> Distances:
    """Smallest distances `[images, forms]`, to one category or to any; infinite without one."""
    rows = [
        [
            min(
                (value for name, value in image.get(form, {}).items() if category in (None, name)),
                default=math.inf,
            )
            for form in forms
        ]
        for image in images
    ]
    return np.array(rows, dtype=np.float64).reshape(len(images), len(forms))


def largest_distances(images: Sequence[FormDistances], forms: Sequence[str]) -> NDArray[np.float64]:
    """The largest distance of the safe images to any category, in each form.

    Raises:
        ConfigError: there are safe images, but none in one of the forms.
    """
    if not images:
        return np.full(len(forms), math.inf)
    largest = []
    for form in forms:
        values = [value for image in images for value in image.get(form, {}).values()]
        if not values:
            raise ConfigError(
                f"No safe image was measured in the form {form}.",
                remedy="Measure safe and unsafe images with one detector.",
            )
        largest.append(max(values))
    return np.array(largest)
