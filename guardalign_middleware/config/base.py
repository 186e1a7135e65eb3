"""What every part of the configuration shares."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

MAX_COUNT = 2**53
"""Most of anything that is counted, such as bytes: larger numbers overflow in other libraries."""

Count = Annotated[int, Field(gt=0, le=MAX_COUNT)]
"""A number of bytes, pixels, pages, rounds or crops."""

ColourLevel = Annotated[int, Field(ge=0, le=255)]

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _off(value: object) -> object:
    return "off" if value is False else value


OFF = BeforeValidator(_off)
"""For a field with the value `off`, which YAML 1.1 takes for false where it has no quotes."""


class FrozenModel(BaseModel):
    """Immutable; a field that does not exist, NaN and infinity are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def invalid_fields(error: ValidationError) -> str:
    """Which fields are invalid and why, in one line and without their values."""
    problems: list[Any] = error.errors(include_url=False, include_input=False)
    return "; ".join(
        f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg']}" for one in problems[:5]
    )
