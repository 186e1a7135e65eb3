"""Handles on a chain or a guard that load it on first use; every framework adapter holds one."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from guardalign_middleware.config import GuardAlignConfig, RunnerConfig
from guardalign_middleware.errors import ConfigError

if TYPE_CHECKING:
    from guardalign_middleware.guard import GuardAlign
    from guardalign_middleware.image_guard import ImageGuard


class _Configured(Protocol):
    config: GuardAlignConfig


Loaded = TypeVar("Loaded", bound=_Configured)


class _Lazy(ABC, Generic[Loaded]):
    """A handle that loads once, however many threads ask."""

    def __init__(self, preset: str | Path | None, loaded: Loaded | None, kind: str) -> None:
        if (preset is None) == (loaded is None):
            raise ConfigError(f"Exactly one of preset and {kind} should be given.")
        self._preset = preset
        self._loaded = loaded
        self._kind = kind
        self._lock = threading.Lock()
        self._config = loaded.config if loaded is not None else GuardAlignConfig.load(preset or "")

    @property
    def config(self) -> GuardAlignConfig:
        """The preset's config, known without loading a model."""
        return self._config

    def get(self) -> Loaded:
        """Return the chain or guard, loading it on the first call.

        Raises:
            ConfigError: the preset has no profile (or no runner, for a chain), or its profile does
                not match.
            ModelLoadError: a model cannot be loaded safely and completely.
        """
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    async def aget(self) -> Loaded:
        """`get` without blocking the event loop."""
        return self._loaded if self._loaded is not None else await asyncio.to_thread(self.get)

    @abstractmethod
    def _load(self) -> Loaded:
        """Load the chain or guard described by the config."""

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def require_preset(self) -> str | Path:
        """The preset, which is all that a pickle holds.

        Raises:
            TypeError: the handle was made from a loaded object, which cannot be pickled.
        """
        if self._preset is None:
            raise TypeError(
                f"A loaded {self._kind} cannot be pickled. Construct from a preset instead."
            )
        return self._preset

    def __reduce__(self) -> tuple[type[Self], tuple[str | Path]]:
        return type(self), (self.require_preset(),)


class LazyChain(_Lazy["GuardAlign"]):
    """A handle on a `GuardAlign` chain, loaded once, however many threads ask.

    Copying returns the same handle, because models are never copied. A pickle holds only the
    preset's name and loads again where it is opened.

    Args:
        preset: name or path of the preset to load.
        chain: a loaded chain, instead of `preset`.

    Raises:
        ConfigError: neither or both are given, or the preset cannot be read.
    """

    def __init__(self, preset: str | Path | None = None, chain: GuardAlign | None = None) -> None:
        super().__init__(preset, chain, "chain")
        self._identity = _identity(self._config, chain)

    @property
    def runner_config(self) -> RunnerConfig | None:
        """The runner's config, known without loading a model; None if the preset has no runner."""
        return self._loaded.runner.config if self._loaded is not None else self._config.runner

    @property
    def identity(self) -> dict[str, Any]:
        """What an answer depends on, as plain JSON values; the same before and after loading.

        `fingerprint` covers the whole config and the contents of the anchor and profile files. Two
        chains that could answer differently have different fingerprints.
        """
        return dict(self._identity)

    def _load(self) -> GuardAlign:
        # Imported on use: importing torch takes most of the loading time.
        from guardalign_middleware.guard import GuardAlign

        return GuardAlign.from_config(self._config)


class LazyGuard(_Lazy["ImageGuard"]):
    """A handle on an `ImageGuard`, for adapters that clean images and leave answering to others.

    It copies and pickles as `LazyChain` does. The preset needs no runner.

    Args:
        preset: name or path of the preset to load.
        guard: a loaded guard, instead of `preset`.

    Raises:
        ConfigError: neither or both are given, or the preset cannot be read.
    """

    def __init__(self, preset: str | Path | None = None, guard: ImageGuard | None = None) -> None:
        super().__init__(preset, guard, "guard")
        # The runner has no influence on what happens to an image.
        record = _record(self._config.model_copy(update={"runner": None}))
        if guard is not None:
            profile = guard.detector.profile
            record["guard"] = None if profile is None else profile.fingerprint
        self._identity = {"guard": self._config.name, "fingerprint": _fingerprint(record)}

    @property
    def identity(self) -> dict[str, Any]:
        """What a cleaned image depends on, as plain JSON values; the same before and after loading.

        `fingerprint` covers the config without its runner, and the contents of the anchor and
        profile files. Two guards that could clean an image differently have different fingerprints.
        """
        return dict(self._identity)

    def _load(self) -> ImageGuard:
        from guardalign_middleware.image_guard import ImageGuard

        return ImageGuard.from_config(self._config)


def guard_handle(preset: str | Path | None, guard: ImageGuard | None) -> LazyGuard:
    """The handle for an adapter's two arguments; with neither, that of the preset `mini`.

    Giving both is an error rather than one of them being ignored.

    Raises:
        ConfigError: both are given, or the preset cannot be read.
    """
    if preset is None and guard is None:
        preset = "mini"
    return LazyGuard(preset=preset, guard=guard)


def _identity(config: GuardAlignConfig, chain: GuardAlign | None) -> dict[str, Any]:
    runner = config.runner if chain is None else chain.runner.config
    record = _record(config)
    record["runner"] = None if runner is None else runner.model_dump(mode="json")
    if chain is not None:
        profile = chain.guard.detector.profile
        record["chain"] = [chain.runner.name, None if profile is None else profile.fingerprint]
    identity: dict[str, Any] = {"guard": config.name, "fingerprint": _fingerprint(record)}
    if runner is not None:
        identity |= {
            "safety_prefix": runner.prefix.text,
            "prefix_policy": runner.prefix.policy,
            "gamma": runner.calibration.gamma,
            "calibration_mode": runner.calibration.mode,
            "calibration_band": list(runner.calibration.band),
        }
    return identity


def _record(config: GuardAlignConfig) -> dict[str, Any]:
    return {
        # Where verdicts are logged has no influence on them.
        "config": config.model_dump(mode="json", exclude={"audit"}),
        "files": [_digest(path) for path in (config.detection.anchors, config.detection.profile)],
    }


def _fingerprint(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _digest(path: Path | None) -> str:
    """SHA-256 of a file's contents; "" for a missing file, which is an error at loading."""
    if path is None or not path.is_file():
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()
