"""What a run was made with: what has to stay the same when it goes on, and what is only noted."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from guardalign_middleware import __version__
from guardalign_middleware.evaluation.arms.build import ArmSettings
from guardalign_middleware.evaluation.experiment.digest import items_digest
from guardalign_middleware.evaluation.suites import Item, Manifest
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.identity import chain_identity
from guardalign_middleware.image_guard import ImageGuard

_LIBRARIES = ("torch", "transformers", "open-clip-torch", "numpy", "pillow", "inspect-ai")


def identity_of(
    manifest: Manifest,
    split: str,
    items: Sequence[Item],
    chain: GuardAlign,
    settings: ArmSettings,
    limit: int | None = None,
) -> dict[str, Any]:
    """What answers depend on: a run goes on only where all of it is the same.

    What only one arm depends on is in `arm_settings`.

    Raises:
        OSError: a picture is gone since the suite was loaded.
        ModelLoadError: the files of a model have changed since it was loaded.
    """
    return {
        "suite": manifest.name,
        "split": split,
        "limit": limit,
        "items": len(items),
        "published": manifest.counts[split],
        "items_sha256": items_digest(items),
        "chain": chain_identity(chain.config, chain),
        "weights": weights_record(chain),
        "options": dict(settings.options),
    }


def arm_settings(settings: ArmSettings, arms: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What only one of these arms depends on, by its name."""
    every: dict[str, dict[str, Any]] = {
        "eta": {"threshold": settings.eta_threshold},
        "neutral": {"sentences": list(settings.neutral)},
    }
    return {name: told for name, told in every.items() if name in arms}


def weights_record(chain: GuardAlign) -> dict[str, Any]:
    """Digests of the weights in use: other files in the same folder are another model.

    Raises:
        ModelLoadError: they have changed since they were loaded.
    """
    weights = getattr(chain.runner, "provenance", None)
    guard = chain.guard
    meters = guard.detector.meters if isinstance(guard, ImageGuard) else ()
    return {
        "model": {} if weights is None else dict(weights.files),
        "encoders": [meter.encoder.fingerprint for meter in meters],
    }


def noted(manifest: Manifest, chain: GuardAlign, preset: str, data: str | None) -> dict[str, Any]:
    """What a reader of the figures wants to know besides.

    Args:
        manifest: of the suite.
        chain: the loaded chain.
        preset: as the user named it.
        data: the folder of the suite's files; None for one that has none.
    """
    weights = getattr(chain.runner, "provenance", None)
    guard = chain.guard
    detector = guard.detector if isinstance(guard, ImageGuard) else None
    profile = None if detector is None else detector.profile
    return {
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "preset": preset,
        "data": data,
        "manifest": manifest.to_record(),
        "model": chain.runner.name,
        "weights": {} if weights is None else weights.to_json(),
        "encoder": None if detector is None else detector.meters[0].encoder.fingerprint,
        "profile": None if profile is None else profile.fingerprint,
        "generation": generation_record(chain),
        "config": chain.config.model_dump(mode="json", exclude={"audit", "serve"}),
        "versions": versions(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def generation_record(chain: GuardAlign) -> dict[str, Any]:
    """How answers are generated where nothing else is asked for."""
    runner = chain.runner.config
    return {
        "max_new_tokens": runner.max_new_tokens,
        "temperature": runner.temperature,
        "batch_size": runner.batch_size,
        "dtype": runner.dtype,
    }


def versions() -> dict[str, str]:
    """Of Python, this package and the libraries that answers depend on."""
    found = {"guardalign": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
