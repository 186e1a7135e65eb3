"""Thresholds of two encoders that together keep one promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from guardalign_middleware.detection.profile import (
    CAVEAT,
    Calibration,
    ThresholdProfile,
    check_bounds,
)
from guardalign_middleware.errors import ConfigError

Distances = Mapping[str, float]


class Calibrate(Protocol):
    """Calibrates one encoder alone."""

    def __call__(
        self, member: int, max_false_alarm: float | None, max_miss: float | None
    ) -> ThresholdProfile:
        """The profile of the encoder of this number, 0 or 1, for its own bounds."""
        ...


def calibrate_pair(
    calibrate: Calibrate,
    safe_images: Sequence[Sequence[Distances]],
    unsafe_images: Sequence[Sequence[Distances]],
    max_false_alarm: float | None = 0.05,
    *,
    max_miss: float | None = None,
) -> ThresholdProfile:
    """One profile for two encoders, of which either flags an image.

    Either may flag a safe image, so each gets α / 2 (Bonferroni), and the promise of α holds for
    the image however the two depend on each other; it costs 2 / α − 1 safe images instead of
    1 / α − 1. An unsafe image is missed only when both miss it, so β is kept when the first alone
    keeps it.

    Args:
        calibrate: on the same images as those below.
        safe_images: what each encoder measured of each, from `PatchDistances.by_category`.
        unsafe_images: likewise.
        max_false_alarm: α in (0, 1) for an image, or None for no such promise.
        max_miss: β in (0, 1), or None for no such promise.

    Raises:
        ConfigError: as of `calibrate`; the message names the encoder.
    """
    check_bounds(max_false_alarm, max_miss)
    half = None if max_false_alarm is None else max_false_alarm / 2
    first = _named("the first encoder", calibrate, 0, half, max_miss)
    # Without α there is nothing else from which a threshold of the second could follow.
    second = _named("the second encoder", calibrate, 1, half, None if half else max_miss)
    both = replace(first, second=second)
    flagged = sum(both.flags(*image) for image in safe_images)
    detected = sum(both.flags(*image) for image in unsafe_images)
    calibration = Calibration(
        max_false_alarm=max_false_alarm,
        safe_images=len(safe_images),
        false_alarm=flagged / len(safe_images) if safe_images else 0.0,
        unsafe_images=len(unsafe_images),
        detected=detected / len(unsafe_images) if unsafe_images else None,
        max_miss=max_miss,
    )
    return replace(both, guarantee=_guarantee(calibration), calibrated_on=calibration)


def _named(
    name: str,
    calibrate: Calibrate,
    member: int,
    max_false_alarm: float | None,
    max_miss: float | None,
) -> ThresholdProfile:
    try:
        return calibrate(member, max_false_alarm, max_miss)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error.message}", remedy=error.remedy) from error


def _guarantee(calibration: Calibration) -> str:
    promises = []
    if calibration.max_false_alarm is not None:
        promises.append(
            f"at most {calibration.max_false_alarm:.2%} of safe images that are exchangeable with "
            f"the {calibration.safe_images} calibration images are flagged by either of two "
            f"encoders, because each flags at most {calibration.max_false_alarm / 2:.2%}"
        )
    if calibration.max_miss is not None:
        promises.append(
            f"at most {calibration.max_miss:.2%} of unsafe images that are exchangeable with the "
            f"{calibration.unsafe_images} calibration images are missed by both"
        )
    sentence = ", and ".join(promises)
    return f"{sentence[0].upper()}{sentence[1:]}, on average over calibration sets. {CAVEAT}"
