"""The arms by name, and their order. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from guardalign_middleware.config.runner import MAX_GAMMA
from guardalign_middleware.errors import ConfigError

ARMS: Mapping[str, str] = MappingProxyType(
    {
        "vanilla": "the model as it is",
        "neutral": "a sentence in the prefix's place that asks for nothing (control)",
        "prefix": "the safety prefix",
        "calibration": "the safety prefix with calibrated attention",
        "detection": "masked pictures, no prefix",
        "detection-prefix": "masked pictures and the safety prefix",
        "full": "the whole method: masked pictures, prefix, calibrated attention",
        "eta": "ETA-style: the prefix where CLIP finds the whole picture unsafe",
        "ecso": "ECSO: the model judges itself and answers again from a caption",
    }
)
"""What each arm does, in the order of tables."""
_AT_GAMMA = ("calibration", "full")


def arm_names(text: str) -> tuple[str, ...]:
    """Read a list such as "full,vanilla,calibration@2", or "all"; the order is that of `ARMS`.

    Raises:
        ConfigError: there is no such arm, or none is named.
    """
    asked = {name.strip() for name in text.split(",")} - {""}
    wanted = (asked - {"all"}) | set(ARMS) if "all" in asked else asked
    if not wanted:
        raise ConfigError("No arm is named.", remedy=f"Arms are: {_known()}; or all.")
    return in_order(wanted)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Arms in the order of tables.

    Raises:
        ConfigError: there is no such arm.
    """
    places = list(ARMS)

    def place(name: str) -> tuple[int, float]:
        kind, gamma = parsed(name)
        return places.index(kind), -1.0 if gamma is None else gamma

    return tuple(sorted(names, key=place))


def parsed(name: str) -> tuple[str, float | None]:
    """The kind of an arm, and its strength of calibration where the name gives one."""
    kind, at, strength = name.partition("@")
    try:
        gamma = float(strength) if at else None
    except ValueError:
        gamma = math.nan
    possible = gamma is None or (kind in _AT_GAMMA and 0.0 <= gamma <= MAX_GAMMA)
    if kind not in ARMS or not possible:
        raise ConfigError(f"There is no arm {name!r}.", remedy=f"Arms are: {_known()}; or all.")
    return kind, gamma


def _known() -> str:
    return f"{', '.join(ARMS)}, and {' and '.join(f'{name}@GAMMA' for name in _AT_GAMMA)}"
