"""The file of a threshold profile: its fields, their types and their ranges."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from guardalign_middleware.config.base import MAX_COUNT, FrozenModel, invalid_fields
from guardalign_middleware.strict import Malformed, json_value

VERSION = 2

Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]
Bound = Annotated[float, Field(strict=True, gt=0.0, lt=1.0)]
Images = Annotated[int, Field(strict=True, ge=0, le=MAX_COUNT)]
# Distances are not negative, but may be so by rounding; τ can lie just below the smallest.
Threshold = Annotated[float, Field(strict=True, ge=-0.001)]
Name = Annotated[str, Field(min_length=1)]


class TrafficRecord(FrozenModel):
    """`calibrated_on.traffic`: see `TrafficFit`."""

    images: Images
    unsafe_share: Annotated[float, Field(strict=True, ge=0.0, lt=1.0)]
    max_flagged: Bound
    flagged: Share
    held_out: tuple[Images, Images] | None = None


class FitRecord(FrozenModel):
    """`calibrated_on`: see `ThresholdFit`."""

    max_false_alarm: Bound | None
    safe_images: Images
    false_alarm: Share
    unsafe_images: Images = 0
    detected: Share | None = None
    max_miss: Bound | None = None
    held_out_safe: tuple[Images, Images] | None = None
    held_out_unsafe: tuple[Images, Images] | None = None
    traffic: TrafficRecord | None = None


class CategoryRecord(FrozenModel):
    """An entry of `by_category`: see `CategoryThreshold`."""

    threshold: Threshold
    false_alarm: Share
    max_false_alarm: Bound | None = None
    unsafe_images: Images = 0
    missed: Share | None = None


class FormRecord(FrozenModel):
    """An entry of `by_form`: see `FormThreshold`."""

    threshold: Threshold
    by_category: dict[Name, Threshold] = {}


class ProfileRecord(FrozenModel):
    """The whole file: see `ThresholdProfile`."""

    version: Literal[2]
    threshold: Threshold
    guarantee: str
    calibrated_on: FitRecord
    binding: dict[Name, str]
    by_category: dict[Name, CategoryRecord] = {}
    by_form: dict[Name, FormRecord] = {}
    second: ProfileRecord | None = None

    @model_validator(mode="after")
    def _two_encoders_at_most(self) -> Self:
        if self.second is None and "second" in self.model_fields_set:
            raise ValueError("second should be a profile, or not be there.")
        if self.second is not None and self.second.second is not None:
            raise ValueError("second.second should not be there: a profile is for two encoders.")
        return self


def profile_record(data: bytes) -> ProfileRecord:
    """Parse the bytes of a profile file.

    Raises:
        Malformed: it is not JSON, or a field is missing, unknown, of another type or out of range;
            the text names the field.
    """
    value = json_value(data)
    if not isinstance(value, dict):
        raise Malformed("it should be a mapping of fields")
    try:
        return ProfileRecord.model_validate(value)
    except ValidationError as error:
        raise Malformed(invalid_fields(error)) from error
