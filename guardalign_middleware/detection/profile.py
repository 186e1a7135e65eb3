"""The threshold profile: τ, the guarantee it was fitted for, and the parts it is bound to."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from guardalign_middleware.detection.image_distances import FormDistances
from guardalign_middleware.detection.profile_file import (
    VERSION,
    FitRecord,
    ProfileRecord,
    profile_record,
)
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.strict import Malformed, read_bytes
from guardalign_middleware.writing import write_whole

REFIT = "Fit a new threshold for this configuration with `guardalign calibrate`."
_FORM = "form:"


@dataclass(frozen=True)
class TrafficFit:
    """Images of which it is not known which are safe, and what a threshold flags of them.

    Attributes:
        images: number of different images fitted on.
        unsafe_share: largest share of unsafe ones among them, as it was assumed.
        max_flagged: guaranteed bound on the chance that an image is flagged, safe or not.
        flagged: share of the images at or below the threshold.
        held_out: images flagged, and their total, among those left out of the fit.
    """

    images: int
    unsafe_share: float
    max_flagged: float
    flagged: float
    held_out: tuple[int, int] | None = None


@dataclass(frozen=True)
class ThresholdFit:
    """The images a threshold was fitted on, and the rates there and on held-out images.

    Attributes:
        max_false_alarm: guaranteed bound on the chance that a safe image is flagged; None = no
            guarantee.
        safe_images: number of safe calibration images.
        false_alarm: share of them at or below the threshold.
        unsafe_images: number of unsafe calibration images.
        detected: share of them at or below the threshold; None without unsafe images.
        max_miss: guaranteed bound on the chance that an unsafe image is allowed; None = no
            guarantee.
        held_out_safe: safe images flagged, and their total, among those left out of the fit.
        held_out_unsafe: unsafe images missed, and their total, among those left out of the fit.
        traffic: the images, where it is not known which of them are safe; None where that is known.
    """

    max_false_alarm: float | None
    safe_images: int
    false_alarm: float
    unsafe_images: int = 0
    detected: float | None = None
    max_miss: float | None = None
    held_out_safe: tuple[int, int] | None = None
    held_out_unsafe: tuple[int, int] | None = None
    traffic: TrafficFit | None = None

    @classmethod
    def of(cls, record: FitRecord) -> ThresholdFit:
        """The fit that a file describes."""
        traffic = None if record.traffic is None else TrafficFit(**dict(record.traffic))
        return cls(**{**dict(record), "traffic": traffic})

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; without `traffic` where it is known which images are safe."""
        record = asdict(self)
        if self.traffic is None:
            del record["traffic"]
        return record


@dataclass(frozen=True)
class CategoryThreshold:
    """The threshold of one category, and its own rates on the calibration images.

    Attributes:
        threshold: τ of the patches whose nearest category this is.
        false_alarm: share of the safe calibration images that this category flags.
        max_false_alarm: guaranteed bound on that chance; None = no guarantee.
        unsafe_images: number of calibration images of this category.
        missed: share of them that this category does not flag; None without such images.
    """

    threshold: float
    false_alarm: float
    max_false_alarm: float | None = None
    unsafe_images: int = 0
    missed: float | None = None


@dataclass(frozen=True)
class FormThreshold:
    """The threshold of one form of a picture.

    Attributes:
        threshold: τ of the patches of this form; with thresholds by category, the largest.
        by_category: unsafe category → its own τ in this form; empty when all share one.
    """

    threshold: float
    by_category: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_category", MappingProxyType(dict(self.by_category)))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; without `by_category` when all categories share the threshold."""
        categories = {"by_category": dict(self.by_category)} if self.by_category else {}
        return {"threshold": self.threshold, **categories}


@dataclass(frozen=True)
class ThresholdProfile:
    """Fitted thresholds, bound to the encoder, anchors, patches, forms and transport behind them.

    Attributes:
        threshold: τ; a patch is unsafe when its distance is at most this (paper eq. 10). With
            thresholds by form or category, the largest of them.
        guarantee: the guaranteed error rates, in words.
        fit: sample sizes and measured rates; `calibrated_on` in the file.
        binding: fingerprint of each part, from `Meter.binding`.
        by_category: unsafe category → its own τ, the largest over all forms; empty when all share
            one.
        by_form: form → its own τ; empty when all share one.
        second: profile of a second encoder, fitted together with this one; `guarantee` and `fit`
            then cover both encoders, and those of `second` cover it alone.
    """

    threshold: float
    guarantee: str
    fit: ThresholdFit
    binding: Mapping[str, str]
    by_category: Mapping[str, CategoryThreshold] = field(default_factory=dict)
    by_form: Mapping[str, FormThreshold] = field(default_factory=dict)
    second: ThresholdProfile | None = None

    def __post_init__(self) -> None:
        values = [self.threshold, *(one.threshold for one in self.by_category.values())]
        for form in self.by_form.values():
            values += [form.threshold, *form.by_category.values()]
            if form.by_category.keys() != self.by_category.keys():
                raise ConfigError("Every form should have a threshold for the same categories.")
        for value in values:
            if not math.isfinite(value):
                raise ConfigError(f"The threshold should be finite. Received {value}.")
        if self.second is not None and self.second.second is not None:
            raise ConfigError("A threshold profile should be for two encoders at most.")
        object.__setattr__(self, "binding", MappingProxyType(dict(self.binding)))
        object.__setattr__(self, "by_category", MappingProxyType(dict(self.by_category)))
        object.__setattr__(self, "by_form", MappingProxyType(dict(self.by_form)))

    def threshold_of(self, category: str, form: str) -> float:
        """τ of the patches of this form whose nearest unsafe category this is.

        Raises:
            ConfigError: the thresholds are by form, and there is none for this one.
        """
        if not self.by_form:
            return self.by_category[category].threshold if self.by_category else self.threshold
        own = self.by_form.get(form)
        if own is None:
            raise _without([form])
        return own.by_category[category] if own.by_category else own.threshold

    @property
    def members(self) -> tuple[ThresholdProfile, ...]:
        """This profile, and that of the second encoder where there is one."""
        return (self,) if self.second is None else (self, self.second)

    def flags(self, *distances: FormDistances) -> bool:
        """Whether an image is unsafe to any encoder, from its smallest patch distances.

        Args:
            distances: form → category → smallest distance, for each encoder.
        """
        return any(
            value <= profile.threshold_of(name, form)
            for profile, measured in zip(self.members, distances, strict=True)
            for form, nearest in measured.items()
            for name, value in nearest.items()
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ThresholdProfile:
        """Read a profile.

        Raises:
            ConfigError: the file is unreadable or of another version, or a field is missing,
                unknown, of another type or out of range; the message names the field.
        """
        try:
            data = read_bytes(path)
        except Malformed as error:
            raise ConfigError(
                f"Cannot read the threshold profile {path}: {error}.",
                remedy="Fit one for this encoder, anchors and patches with `guardalign calibrate`.",
            ) from error
        return cls.parse(data, path)

    @classmethod
    def parse(cls, data: bytes, name: str | os.PathLike[str]) -> ThresholdProfile:
        """A profile from the bytes of its file; `name` stands in messages.

        Raises:
            ConfigError: as for `load`.
        """
        try:
            return cls._of(profile_record(data))
        except Malformed as error:
            raise ConfigError(
                f"{name} is not a threshold profile of version {VERSION}: {error}.", remedy=REFIT
            ) from error

    @classmethod
    def _of(cls, record: ProfileRecord) -> ThresholdProfile:
        return cls(
            record.threshold,
            record.guarantee,
            ThresholdFit.of(record.calibrated_on),
            record.binding,
            {name: CategoryThreshold(**dict(one)) for name, one in record.by_category.items()},
            {name: FormThreshold(**dict(one)) for name, one in record.by_form.items()},
            None if record.second is None else cls._of(record.second),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile as JSON; `load` reads it back to the bit.

        A profile that is there stays until the new one is complete.

        Raises:
            ConfigError: it cannot be written.
        """
        write_whole(Path(path), json.dumps(self.to_json(), indent=2).encode() + b"\n")

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all fields; every verdict carries it."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def check_binding(self, binding: Mapping[str, str]) -> None:
        """Reject parts that the thresholds were not fitted for.

        A guard may look at fewer forms than the profile has: a form less flags no image more.

        Raises:
            ConfigError: a fingerprint differs, a form has no threshold, or there are fewer forms
                although the profile bounds misses; the message names the parts.
        """
        forms, fitted = _forms(binding), _forms(self.binding)
        if self.by_form:
            fitted &= self.by_form.keys()
        if forms - fitted:
            raise _without(forms - fitted)
        unused = fitted - forms
        parts = sorted((self.binding.keys() | binding.keys()) - {_FORM + name for name in unused})
        changed = [part for part in parts if self.binding.get(part) != binding.get(part)]
        if changed:
            names = ", ".join(changed).replace(_FORM, "form ")
            raise ConfigError(
                f"The threshold profile was fitted with different {names}.", remedy=REFIT
            )
        if unused and self.fit.max_miss is not None:
            raise ConfigError(
                "The threshold profile bounds misses only together with the form "
                f"{', '.join(sorted(unused))}, which detection.sees leaves out.",
                remedy=REFIT,
            )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as in the file."""
        record: dict[str, Any] = {
            "version": VERSION,
            "threshold": self.threshold,
            "guarantee": self.guarantee,
            "calibrated_on": self.fit.to_json(),
            "binding": dict(self.binding),
        }
        if self.by_category:
            record["by_category"] = {k: asdict(one) for k, one in self.by_category.items()}
        if self.by_form:
            record["by_form"] = {name: one.to_json() for name, one in self.by_form.items()}
        if self.second is not None:
            record["second"] = self.second.to_json()
        return record


def _forms(binding: Mapping[str, str]) -> set[str]:
    return {part.removeprefix(_FORM) for part in binding if part.startswith(_FORM)}


def _without(forms: Collection[str]) -> ConfigError:
    return ConfigError(
        f"The threshold profile was fitted without the form {', '.join(sorted(forms))}.",
        remedy=REFIT,
    )
