"""What every object on the wire shares."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from guardalign_middleware.errors import ConfigError

WIRE_VERSION: Final = 1
"""Of the JSON; a guard and its client must have the same."""


class WireModel(BaseModel):
    """Immutable; an unknown field is an error, and NaN and infinity are written as words."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_inf_nan="strings", protected_namespaces=()
    )


def check_version(body: Any, owner: str) -> None:
    """Refuse another version before anything else is read.

    Args:
        body: the JSON value of an answer.
        owner: who wrote it, for the error.

    Raises:
        ConfigError: it is of another version, or of none.
    """
    version = body.get("version") if isinstance(body, dict) else None
    if version != WIRE_VERSION:
        found = f"version {version}" if isinstance(version, int) else "no version"
        raise ConfigError(
            f"{owner} speaks {found} of the guard's wire format; this program speaks version "
            f"{WIRE_VERSION}.",
            remedy="Install the same version of GuardAlign on both sides, and check the URL.",
        )
