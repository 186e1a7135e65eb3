"""`guardalign doctor`: looks at everything between an installation and a guard that works.

Nothing is fetched and no model is loaded, except the encoder where a profile is to be compared with
it and all its files are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.filesize import decimal

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.errors import ConfigError, GuardAlignError, HubError
from guardalign_middleware.first_day.checks import Check
from guardalign_middleware.first_day.installation import (
    check_extras,
    check_packages,
    check_python,
)
from guardalign_middleware.local_extra import LIBRARIES, install

if TYPE_CHECKING:
    from guardalign_middleware.first_day.downloads import Download, Need

_NEXT = "Run `guardalign calibrate`, or `guardalign init` for all steps."


def examine(preset: str) -> Iterator[Check]:
    """Check after check, so that each can be shown when it is done.

    Args:
        preset: a shipped preset, or the path of a .yaml file.
    """
    yield check_python()
    yield check_packages()
    config, check = _preset(preset)
    yield check
    yield from check_extras(config)
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        yield Check(
            "models",
            "failed",
            f"models cannot run in this process without {', '.join(missing)}",
            f"{install('local')}, or use a guard in another process (RemoteImageGuard).",
        )
        return
    # Their libraries are there.
    from guardalign_middleware.first_day.machine import check_devices

    yield from check_devices(config)
    if config is not None:
        yield from _of_config(config)


def _preset(preset: str) -> tuple[GuardAlignConfig | None, Check]:
    try:
        config = GuardAlignConfig.load(preset)
    except ConfigError as error:
        remedy = error.remedy or "Repair the file, or take a shipped preset."
        return None, Check("preset", "failed", error.message, remedy)
    measured = "measured" if config.verified else "its figures were never measured by its makers"
    return config, Check("preset", "ok", f"{config.name}: {measured}")


def _of_config(config: GuardAlignConfig) -> Iterator[Check]:
    from guardalign_middleware.first_day.downloads import needs_of, plan
    from guardalign_middleware.first_day.machine import check_disk, check_memory
    from guardalign_middleware.model_folder.hub import cache_folder

    try:
        needs = needs_of(config)
    except GuardAlignError as error:
        yield Check("models", "failed", error.message, error.remedy)
        return
    downloads: list[Download] = []
    incomplete = False
    silent: HubError | None = None
    for need in needs:
        name = f"{need.use} {need.repository}"
        try:
            if silent is not None:
                raise silent  # it would not answer a second time either
            found = plan(need)
        except HubError as error:
            silent = error if error.reason == "unreachable" else None
            check = _without_hub(name, need, error)
            incomplete |= check.result == "failed"
            yield check
            continue
        downloads.append(found)
        incomplete |= bool(found.missing)
        yield _found(name, found)
    if not needs:
        yield Check("hub", "ok", "not needed: all models of the preset are in folders")
    if downloads:
        yield check_disk(cache_folder(), downloads)
        yield from check_memory(config, downloads)
    yield _profile(config, incomplete=incomplete)


def _found(name: str, found: Download) -> Check:
    model = found.model
    pinned = "pinned" if found.need.revision == model.revision else "not pinned"
    details = {
        "revision": model.revision,
        "licence": model.licence,
        "gated": model.gated,
        "bytes": found.size,
        "missing_bytes": found.to_fetch,
        "missing": [one.name for one in found.missing],
    }
    licence = model.licence or "undeclared"
    what = f"revision {model.revision[:12]} ({pinned}), licence {licence}, {decimal(found.size)}"
    if not found.weights and found.need.patterns is None:
        remedy = "Choose a model that is published as safetensors."
        return Check(name, "failed", f"{what}: no safetensors weights", remedy, details)
    if not found.missing:
        return Check(name, "ok", f"{what}, all in the cache", details=details)
    remedy = "`guardalign init` fetches it, or the first start." + (
        " Accept its terms on the hub and log in first." if model.gated else ""
    )
    missing = f"{what}, {decimal(found.to_fetch)} of it not in the cache"
    return Check(name, "warning", missing, remedy, details)


def _without_hub(name: str, need: Need, error: HubError) -> Check:
    from guardalign_middleware.model_folder.hub import cached
    from guardalign_middleware.model_folder.source import SMALL

    details = {"reason": error.reason}
    if error.reason in {"unreachable", "not_cached"}:
        patterns = need.patterns or (*SMALL, "*.safetensors")
        folder = cached(need.repository, need.revision, patterns)
        if folder is not None and any(folder.glob("*.safetensors")):
            found = f"in the cache; {error.message}"
            return Check(name, "warning", found, error.remedy, {**details, "folder": str(folder)})
    return Check(name, "failed", error.message, error.remedy, details)


def _profile(config: GuardAlignConfig, *, incomplete: bool) -> Check:
    from guardalign_middleware.detection import ThresholdProfile
    from guardalign_middleware.detector_loading import load_detector

    path: Path | None = config.detection.profile
    if path is None:
        found = "the preset names no threshold profile, so it refuses to scan"
        return Check("profile", "failed", found, _NEXT)
    try:
        fitted = ThresholdProfile.load(path)
    except GuardAlignError as error:
        return Check("profile", "failed", error.message, error.remedy)
    if incomplete:
        return Check("profile", "unknown", "whether it fits can be told when all files are there")
    try:
        load_detector(config)
    except GuardAlignError as error:
        return Check("profile", "failed", error.message, error.remedy)
    details = {"fingerprint": fitted.fingerprint, "guarantee": fitted.guarantee}
    return Check("profile", "ok", f"fits the preset: {fitted.guarantee}", details=details)
