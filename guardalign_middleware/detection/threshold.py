"""The threshold τ, the guarantee it was calibrated for, and what it is bound to."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from guardalign_middleware.errors import ConfigError

_VERSION = 1


@dataclass(frozen=True)
class Calibration:
    """What a threshold was computed from, and what it did there.

    Attributes:
        max_false_alarm: promised bound α on the share of safe images flagged.
        safe_images: number of safe calibration images.
        false_alarm: share of them at or below the threshold.
        unsafe_images: number of unsafe images looked at; they do not move the threshold.
        detected: share of them at or below the threshold; `None` without unsafe images.
    """

    max_false_alarm: float
    safe_images: int
    false_alarm: float
    unsafe_images: int = 0
    detected: float | None = None


@dataclass(frozen=True)
class ThresholdProfile:
    """A calibrated threshold, bound to the encoder, anchors, patches and transport behind it.

    Attributes:
        threshold: τ; a patch is unsafe when its distance is at most this (paper eq. 10).
        guarantee: what the calibration promises, in words.
        calibrated_on: sample sizes and measured rates.
        binding: fingerprint of each part, from `Detector.binding`.
    """

    threshold: float
    guarantee: str
    calibrated_on: Calibration
    binding: Mapping[str, str]

    def __post_init__(self) -> None:
        if not math.isfinite(self.threshold):
            raise ConfigError(f"The threshold should be finite. Received {self.threshold}.")
        object.__setattr__(self, "binding", MappingProxyType(dict(self.binding)))

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
        if not isinstance(data, dict) or data.pop("version", None) != _VERSION:
            raise ConfigError(f"{file} is no threshold profile of version {_VERSION}.")
        try:
            calibration = Calibration(**data.pop("calibrated_on"))
            profile = cls(**data, calibrated_on=calibration)
        except (TypeError, KeyError, ValueError) as error:
            raise ConfigError(f"{file} is no valid threshold profile: {error}.") from error
        return profile

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
        return {
            "version": _VERSION,
            "threshold": self.threshold,
            "guarantee": self.guarantee,
            "calibrated_on": asdict(self.calibrated_on),
            "binding": dict(self.binding),
        }


def calibrate_threshold(
    safe_distances: Sequence[float],
    unsafe_distances: Sequence[float] | None = None,
    max_false_alarm: float = 0.05,
    *,
    binding: Mapping[str, str],
) -> ThresholdProfile:
    """The largest threshold that flags a new safe image with probability at most α.

    With n safe images and k = ⌊α (n + 1)⌋, τ lies just below the k-th smallest distance: a new
    image, exchangeable with them, ranks among the k smallest of n + 1 with probability at most
    k / (n + 1) ≤ α (split conformal prediction; ties only lower it).

    Args:
        safe_distances: image distances of safe images, independent of everything trained or tuned.
        unsafe_distances: image distances of unsafe images, to report the share detected.
        max_false_alarm: α in (0, 1).
        binding: `Detector.binding` of the detector that measured the distances.

    Raises:
        ConfigError: too few safe images for α, or a distance is not finite.
    """
    if not 0.0 < max_false_alarm < 1.0:
        raise ConfigError(f"max_false_alarm should be in (0, 1). Received {max_false_alarm}.")
    safe = np.sort(np.asarray(safe_distances, dtype=np.float64))
    unsafe = np.asarray([] if unsafe_distances is None else unsafe_distances, dtype=np.float64)
    if not (np.isfinite(safe).all() and np.isfinite(unsafe).all()):
        raise ConfigError("Calibration distances should be finite. Received NaN or infinity.")
    # The small term undoes rounding such as 0.05 * 20 < 1; exact multiples keep their rank.
    rank = math.floor(max_false_alarm * (len(safe) + 1) + 1e-9)
    if rank < 1:
        needed = math.ceil(1.0 / max_false_alarm - 1e-9) - 1
        raise ConfigError(
            f"{len(safe)} safe images cannot promise {max_false_alarm:.3g} false alarms.",
            remedy=f"Use at least {needed} safe images, or a larger max_false_alarm.",
        )
    threshold = float(np.nextafter(safe[rank - 1], -np.inf))
    calibration = Calibration(
        max_false_alarm=max_false_alarm,
        safe_images=len(safe),
        false_alarm=float((safe <= threshold).mean()),
        unsafe_images=len(unsafe),
        detected=float((unsafe <= threshold).mean()) if len(unsafe) else None,
    )
    guarantee = (
        f"At most {max_false_alarm:.2%} of safe images that are exchangeable with the "
        f"{len(safe)} calibration images are flagged, on average over calibration sets. "
        "No promise under attack or on other kinds of images."
    )
    return ThresholdProfile(threshold, guarantee, calibration, binding)
