"""Thresholds from traffic without labels: what production showed, and a bound on what is unsafe.

Let at most a share π of the images be unsafe. A threshold that flags an image, safe or not, with
probability at most q = α (1 − π) flags a safe one with probability at most α, whatever it does to
unsafe ones:

    q >= P(flagged) >= P(safe) P(flagged | safe) >= (1 − π) P(flagged | safe).

The bound q is that of `conformal`, by ranks among the images, so it asks only that a new image is
exchangeable with them. Nothing follows about misses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from guardalign_middleware.detection.detector import Detector
from guardalign_middleware.detection.fit import ImageDistances, fit_profile
from guardalign_middleware.detection.order_statistics import retold
from guardalign_middleware.detection.profile import ThresholdFit, ThresholdProfile, TrafficFit
from guardalign_middleware.errors import ConfigError


def fit_traffic(
    detector: Detector,
    images: Sequence[ImageDistances],
    unsafe_share: float,
    max_false_alarm: float = 0.05,
    *,
    per_category: bool = False,
) -> ThresholdProfile:
    """A profile that keeps a bound on false alarms, from images of which none is labelled.

    Args:
        detector: what measured the images; its own profile is ignored.
        images: `fit.measure` of each, or what an audit log of an observing guard holds.
        unsafe_share: π in [0, 1), the largest share of unsafe images among them.
        max_false_alarm: α in (0, 1) for a safe image.
        per_category: fit one threshold for each category, and form.

    Raises:
        ConfigError: a share is out of range, or there are too few images for the bound.
    """
    if not 0.0 <= unsafe_share < 1.0:
        raise ConfigError(f"unsafe_share should be in [0, 1). Received {unsafe_share}.")
    if not 0.0 < max_false_alarm < 1.0:
        raise ConfigError(f"max_false_alarm should be in (0, 1). Received {max_false_alarm}.")
    bound = max_false_alarm * (1.0 - unsafe_share)
    try:
        fitted = fit_profile(detector, images, {}, bound, per_category=per_category)
    except ConfigError as error:
        told = f"To flag at most {bound:.2%} of all images: {error.message}"
        raise retold(error, told) from error
    flagged = float(np.mean([fitted.flags(*image) for image in images]))
    traffic = TrafficFit(len(images), unsafe_share, bound, flagged)
    fit = ThresholdFit(max_false_alarm, safe_images=0, false_alarm=0.0, traffic=traffic)
    return replace(fitted, fit=fit, guarantee=_guarantee(fit, traffic))


def _guarantee(fit: ThresholdFit, traffic: TrafficFit) -> str:
    """The guarantee in words, as profiles store it."""
    return (
        f"At most {traffic.max_flagged:.2%} of images that are exchangeable with the "
        f"{traffic.images} images without labels are flagged, on average over such sets; hence at "
        f"most {fit.max_false_alarm:.2%} of safe ones, if at most {traffic.unsafe_share:.2%} of "
        "such images are unsafe. No promise on misses, under attack, or on other kinds of images."
    )
