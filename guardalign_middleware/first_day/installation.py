"""Checks of the installation: Python, the packages and their versions, the extras."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from typing import TYPE_CHECKING

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.first_day.checks import Check
from guardalign_middleware.local_extra import install

if TYPE_CHECKING:
    from packaging.requirements import Requirement

CORE = "guardalign-core"
OLDEST = (3, 11)
_Requirement = tuple[str, str, Callable[[str], bool]]
_REPAIR = install("local")


def check_python() -> Check:
    """The interpreter and the system."""
    found = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    details = {"python": platform.python_version(), "platform": platform.platform()}
    if sys.version_info < OLDEST:
        remedy = f"Install Python {OLDEST[0]}.{OLDEST[1]} or newer, and this package into it."
        return Check("python", "failed", found, remedy, details)
    return Check("python", "ok", found, details=details)


def check_packages(of: Distribution | None = None) -> Check:
    """Whether what the models need is there, in versions that fit.

    Args:
        of: the distribution whose requirements hold; None = the installed core.
    """
    try:
        core = of or distribution(CORE)
    except PackageNotFoundError:
        return Check(
            "packages",
            "unknown",
            "the package runs from a folder and is not installed, so nothing says what it needs",
            "In that folder: pip install -e '.[local]'",
        )
    wrong, seen = [], {}
    for name, wanted, needed in _requirements(_parsed(core), "local"):
        try:
            installed = version(name)
        except PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        seen[name] = installed
        if not needed(installed):
            wrong.append(f"{name} {installed} is not {wanted}")
    if wrong:
        found = "; ".join(wrong)
        return Check("packages", "failed", found, _REPAIR, {"versions": seen})
    main = ", ".join(f"{name} {seen[name]}" for name in ("torch", "transformers") if name in seen)
    return Check("packages", "ok", main or f"{CORE} alone", details={"versions": seen})


def check_extras(
    config: GuardAlignConfig | None, of: Distribution | None = None
) -> Iterator[Check]:
    """One check for all extras, and one for each that the preset needs and that is missing."""
    try:
        core = of or distribution(CORE)
    except PackageNotFoundError:
        return  # said by the check of the packages
    absent: dict[str, list[str]] = {}
    parsed = _parsed(core)
    for extra in sorted(core.metadata.get_all("Provides-Extra") or []):
        missing = [name for name, _, _ in _requirements(parsed, extra, own=True) if not _has(name)]
        if missing:
            absent[extra] = missing
    needed = {} if config is None else needed_extras(config)
    commands = {name: install(name) for name in absent}
    for name, why in needed.items():
        if name in absent:
            found = f"{why}, and {', '.join(absent[name])} is missing"
            yield Check(f"extra {name}", "failed", found, install(name))
    others = [name for name in absent if name not in needed]
    found = f"not installed, and not needed by the preset: {', '.join(others)}" if others else "all"
    yield Check("extras", "ok", found, details={"missing": commands})


def needed_extras(config: GuardAlignConfig) -> dict[str, str]:
    """Which extras a config needs besides `local`, and why."""
    second = config.detection.defence.second
    encoders = [config.detection.encoder, *([] if second is None else [second.encoder])]
    runner = config.runner
    reasons = {
        "fast": any(one.precision == "int8" for one in encoders) and "encoder.precision is int8",
        "words": config.words.mode != "off" and f"words.mode is {config.words.mode}",
        "pdf": config.intake.pdf == "pages" and "intake.pdf is pages",
        "sharded": runner is not None
        and runner.device_map is not None
        and "runner.device_map is set",
    }
    return {name: why for name, why in reasons.items() if why}


def _parsed(core: Distribution) -> list[Requirement]:
    """What a distribution asks for, with and without extras."""
    # Comes with huggingface_hub and transformers; without them, versions are left alone.
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:
        return []
    found = map(Requirement, core.requires or ())
    return [one for one in found if one.name != CORE]


def _requirements(
    parsed: Sequence[Requirement], extra: str, *, own: bool = False
) -> Iterator[_Requirement]:
    """Name, specifier and its test, of each requirement that holds with an extra.

    Args:
        parsed: all that is asked for.
        extra: the extra.
        own: whether to leave out what holds without it.
    """
    for one in parsed:
        if own and one.marker is None:
            continue
        if one.marker is None or one.marker.evaluate({"extra": extra}):
            yield one.name, str(one.specifier), one.specifier.contains


def _has(name: str) -> bool:
    try:
        distribution(name)  # its version would be read from all of its metadata
    except PackageNotFoundError:
        return False
    return True
