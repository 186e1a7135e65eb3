"""The threshold τ, the guarantee it was calibrated for, and what it is bound to."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.errors import ConfigError

_VERSION = 1
CAVEAT = "No promise under attack or on other kinds of images."


@dataclass(frozen=True)
class Calibration:
    """What a threshold was computed from, and what it did there and on images held out.

    Attributes:
        max_false_alarm: promised bound on the chance that a safe image is flagged; None = none.
        safe_images: number of safe calibration images.
        false_alarm: share of them at or below the threshold.
        unsafe_images: number of unsafe calibration images.
        detected: share of them at or below the threshold; None without unsafe images.
        max_miss: promised bound on the chance that an unsafe image is allowed; None = none.
        held_out_safe: safe images flagged, and looked at, that had no part in the calibration.
        held_out_unsafe: unsafe images missed, and looked at, likewise.
    """

    max_false_alarm: float | None
    safe_images: int
    false_alarm: float
    unsafe_images: int = 0
    detected: float | None = None
    max_miss: float | None = None
    held_out_safe: tuple[int, int] | None = None
    held_out_unsafe: tuple[int, int] | None = None


@dataclass(frozen=True)
class CategoryThreshold:
    """The threshold of one category, and what it alone does to the calibration images.

    Attributes:
        threshold: τ of the patches whose nearest category this is.
        false_alarm: share of the safe calibration images that this category flags.
        max_false_alarm: promised bound on that chance; None = none.
        unsafe_images: number of calibration images of this category.
        missed: share of them that this category does not flag; None without such images.
    """

    threshold: float
    false_alarm: float
    max_false_alarm: float | None = None
    unsafe_images: int = 0
    missed: float | None = None


@dataclass(frozen=True)
class ThresholdProfile:
    """A calibrated threshold, bound to the encoder, anchors, patches and transport behind it.

    Attributes:
        threshold: τ; a patch is unsafe when its distance is at most this (paper eq. 10). With
            thresholds by category, the largest of them.
        guarantee: what the calibration promises, in words.
        calibrated_on: sample sizes and measured rates.
        binding: fingerprint of each part, from `Detector.binding`.
        by_category: unsafe category → its own τ; empty when all share one.
        second: that of a second encoder, calibrated together with this one; `guarantee` and
            `calibrated_on` are then about both, and those of `second` about it alone.
    """

    threshold: float
    guarantee: str
    calibrated_on: Calibration
    binding: Mapping[str, str]
    by_category: Mapping[str, CategoryThreshold] = field(default_factory=dict)
    second: ThresholdProfile | None = None

    def __post_init__(self) -> None:
        for value in (self.threshold, *(one.threshold for one in self.by_category.values())):
            if not math.isfinite(value):
                raise ConfigError(f"The threshold should be finite. Received {value}.")
        if self.second is not None and self.second.second is not None:
            raise ConfigError("A threshold profile should be for two encoders at most.")
        object.__setattr__(self, "binding", MappingProxyType(dict(self.binding)))
        object.__setattr__(self, "by_category", MappingProxyType(dict(self.by_category)))

    def threshold_of(self, category: str) -> float:
        """τ of the patches whose nearest unsafe category this is."""
        return self.by_category[category].threshold if self.by_category else self.threshold

    @property
    def members(self) -> tuple[ThresholdProfile, ...]:
        """This profile, and that of the second encoder where there is one."""
        return (self,) if self.second is None else (self, self.second)

    def flags(self, *distances: Mapping[str, float]) -> bool:
        """Whether an image is unsafe to any encoder, by its smallest patch distances.

        Args:
            distances: for each encoder, category → smallest distance.
        """
        return any(
            value <= profile.threshold_of(name)
            for profile, measured in zip(self.members, distances, strict=True)
            for name, value in measured.items()
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ThresholdProfile:
        """Read a profile.

        Raises:
            ConfigError: unreadable, of another version, or a field is missing, unknown or wrong.
        """
        file = Path(path)
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ConfigError(
                f"Cannot read the threshold profile {file}: {error}.",
                remedy="Calibrate a threshold for this encoder, anchors and patches.",
            ) from error
        try:
            return cls._read(data, file)
        except (AttributeError, TypeError, KeyError, ValueError) as error:
            raise ConfigError(f"{file} is no valid threshold profile: {error}.") from error

    @classmethod
    def _read(cls, data: Any, file: Path) -> ThresholdProfile:
        if not isinstance(data, dict) or data.pop("version", None) != _VERSION:
            raise ConfigError(f"{file} is no threshold profile of version {_VERSION}.")
        calibration = _read_calibration(data.pop("calibrated_on"))
        categories = {
            name: CategoryThreshold(**fields)
            for name, fields in data.pop("by_category", {}).items()
        }
        second = cls._read(data.pop("second"), file) if "second" in data else None
        return cls(**data, calibrated_on=calibration, by_category=categories, second=second)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile as JSON, to be read by `load` with the same threshold to the bit."""
        Path(path).write_text(json.dumps(self._facts(), indent=2) + "\n", encoding="utf-8")

    @cached_property
    def fingerprint(self) -> str:
        """Changes with any field; every verdict carries it."""
        return hashlib.sha256(json.dumps(self._facts(), sort_keys=True).encode()).hexdigest()

    def check_binding(self, binding: Mapping[str, str]) -> None:
        """Refuse to judge with a threshold that was calibrated for something else.

        Raises:
            ConfigError: a fingerprint differs; names the parts.
        """
        parts = sorted(self.binding.keys() | binding.keys())
        changed = [part for part in parts if self.binding.get(part) != binding.get(part)]
        if changed:
            raise ConfigError(
                f"The threshold profile was calibrated with another {', '.join(changed)}.",
                remedy="Calibrate a new threshold for this configuration.",
            )

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "version": _VERSION,
            "threshold": self.threshold,
            "guarantee": self.guarantee,
            "calibrated_on": asdict(self.calibrated_on),
            "binding": dict(self.binding),
        }
        if self.by_category:
            facts["by_category"] = {k: asdict(one) for k, one in self.by_category.items()}
        if self.second is not None:
            facts["second"] = self.second._facts()
        return facts


def _read_calibration(fields: Mapping[str, Any]) -> Calibration:
    """JSON has lists where the counts are pairs."""
    pairs = {
        name: tuple(value) if isinstance(value := fields.get(name), list) else value
        for name in ("held_out_safe", "held_out_unsafe")
    }
    return Calibration(**{**fields, **pairs})


def calibrate_threshold(
    safe_distances: Sequence[float],
    unsafe_distances: Sequence[float] | None = None,
    max_false_alarm: float | None = 0.05,
    *,
    max_miss: float | None = None,
    binding: Mapping[str, str],
) -> ThresholdProfile:
    """The threshold that keeps the promised error rates on new images (split conformal).

    A new image, exchangeable with the n calibration images of its kind, has each of the n + 1 ranks
    among them with equal chance; ties only lower the rates below.

    - False alarms ≤ α: τ lies just below the k-th smallest safe distance, k = ⌊α (n + 1)⌋. It is
      the largest such threshold, and is taken whenever α is given.
    - Misses ≤ β: τ is at least the k-th smallest unsafe distance, k = ⌈(1 − β)(n + 1)⌉. Without α
      it is exactly that.

    Args:
        safe_distances: image distances of safe images, independent of everything trained or tuned.
        unsafe_distances: image distances of unsafe images; needed for `max_miss`, else they only
            tell the share detected.
        max_false_alarm: α in (0, 1), or None for no such promise.
        max_miss: β in (0, 1), or None for no such promise.
        binding: `Detector.binding` of the detector that measured the distances.

    Raises:
        ConfigError: no rate is promised, too few images for one, a distance is not finite, or no
            threshold keeps both promises.
    """
    check_bounds(max_false_alarm, max_miss)
    safe = np.sort(np.asarray(safe_distances, dtype=np.float64))
    unsafe = np.sort(
        np.asarray([] if unsafe_distances is None else unsafe_distances, dtype=np.float64)
    )
    if not (np.isfinite(safe).all() and np.isfinite(unsafe).all()):
        raise ConfigError("Calibration distances should be finite. Received NaN or infinity.")
    highest = None if max_false_alarm is None else highest_threshold(safe, max_false_alarm)
    lowest = None if max_miss is None else lowest_threshold(unsafe, max_miss)
    if highest is not None and lowest is not None and lowest > highest:
        missed = float((unsafe > highest).mean())
        flagged = float((safe <= lowest).mean())
        raise ConfigError(
            f"No threshold keeps both promises: {max_false_alarm:.3g} false alarms would miss "
            f"{missed:.1%} of the unsafe images, {max_miss:.3g} misses would flag {flagged:.1%} of "
            "the safe ones.",
            remedy="Allow more of one of them, or use an encoder that tells them apart better.",
        )
    threshold = highest if highest is not None else lowest
    if threshold is None:
        raise ConfigError("At least one of max_false_alarm and max_miss should be given.")
    calibration = Calibration(
        max_false_alarm=max_false_alarm,
        safe_images=len(safe),
        false_alarm=float((safe <= threshold).mean()) if len(safe) else 0.0,
        unsafe_images=len(unsafe),
        detected=float((unsafe <= threshold).mean()) if len(unsafe) else None,
        max_miss=max_miss,
    )
    return ThresholdProfile(threshold, _guarantee(calibration), calibration, binding)


def check_bounds(max_false_alarm: float | None, max_miss: float | None) -> None:
    """Refuse promises that are no chances.

    Raises:
        ConfigError: a bound is not in (0, 1).
    """
    for name, bound in (("max_false_alarm", max_false_alarm), ("max_miss", max_miss)):
        if bound is not None and not 0.0 < bound < 1.0:
            raise ConfigError(f"{name} should be in (0, 1). Received {bound}.")


def highest_threshold(safe: NDArray[np.float64], bound: float) -> float:
    """The largest threshold that flags a new safe image with a chance of at most `bound`.

    Args:
        safe: sorted distances `[n]`.
        bound: α.

    Raises:
        ConfigError: too few images.
    """
    # The small term undoes rounding such as 0.05 * 20 < 1; exact multiples keep their rank.
    rank = math.floor(bound * (len(safe) + 1) + 1e-9)
    if rank < 1:
        needed = math.ceil(1.0 / bound - 1e-9) - 1
        raise ConfigError(
            f"{len(safe)} safe images cannot promise {bound:.3g} false alarms.",
            remedy=f"Use at least {needed} safe images, or a larger max_false_alarm.",
        )
    return float(np.nextafter(safe[rank - 1], -np.inf))


def lowest_threshold(unsafe: NDArray[np.float64], bound: float) -> float:
    """The smallest threshold that allows a new unsafe image with a chance of at most `bound`.

    Args:
        unsafe: sorted distances `[n]`.
        bound: β.

    Raises:
        ConfigError: too few images.
    """
    rank = math.ceil((1.0 - bound) * (len(unsafe) + 1) - 1e-9)
    if rank > len(unsafe):
        needed = math.ceil(1.0 / bound - 1e-9) - 1
        raise ConfigError(
            f"{len(unsafe)} unsafe images cannot promise {bound:.3g} misses.",
            remedy=f"Use at least {needed} unsafe images, or a larger max_miss.",
        )
    return float(unsafe[rank - 1])


def _guarantee(calibration: Calibration) -> str:
    promises = []
    if calibration.max_false_alarm is not None:
        promises.append(
            f"At most {calibration.max_false_alarm:.2%} of safe images that are exchangeable with "
            f"the {calibration.safe_images} calibration images are flagged"
        )
    if calibration.max_miss is not None:
        promises.append(
            f"at most {calibration.max_miss:.2%} of unsafe images that are exchangeable with the "
            f"{calibration.unsafe_images} calibration images are allowed"
        )
    sentence = ", and ".join(promises) + ", on average over calibration sets."
    return f"{sentence[0].upper()}{sentence[1:]} {CAVEAT}"
