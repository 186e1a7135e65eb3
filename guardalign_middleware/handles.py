"""A chain or a guard that is loaded on first use: what every framework adapter holds."""

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
    """One thing, loaded once, however many threads ask.

    Copies are the same thing: models are never copied. A pickle holds the preset's name and loads
    again where it is opened.
    """

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
        """What was given, or what the preset names.

        Raises:
            ConfigError: the preset lacks a profile (or a runner, for a chain), or the profile does
                not fit.
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
        """Load what the config names."""

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def require_preset(self) -> str | Path:
        """The preset, which is all that a pickle holds.

        Raises:
            TypeError: made from something loaded, which cannot be pickled.
        """
        if self._preset is None:
            raise TypeError(
                f"A loaded {self._kind} cannot be pickled. Construct from a preset instead."
            )
        return self._preset

    def __reduce__(self) -> tuple[type[Self], tuple[str | Path]]:
        return type(self), (self.require_preset(),)


class LazyChain(_Lazy["GuardAlign"]):
    """One chain, loaded once, however many threads ask.

    Copies are the same chain: models are never copied. A pickle holds the preset's name and loads
    again where it is opened.

    Args:
        preset: what to load; must be given when `chain` is not.
        chain: a chain that is loaded already.
    """

    def __init__(self, preset: str | Path | None = None, chain: GuardAlign | None = None) -> None:
        super().__init__(preset, chain, "chain")
        self._identity = _identity(self._config, chain)

    @property
    def runner_config(self) -> RunnerConfig | None:
        """The runner's config, known without loading a model; None where the preset has none."""
        return self._loaded.runner.config if self._loaded is not None else self._config.runner

    @property
    def identity(self) -> dict[str, Any]:
        """What an answer depends on, as plain JSON values; the same before and after loading.

        `fingerprint` covers the whole config and the contents of the anchor and profile files:
        two chains that could answer differently differ in it.
        """
        return dict(self._identity)

    def _load(self) -> GuardAlign:
        # Here and not above: importing torch is the larger part of the waiting.
        from guardalign_middleware.guard import GuardAlign

        return GuardAlign.from_config(self._config)


class LazyGuard(_Lazy["ImageGuard"]):
    """One image guard, loaded once; for adapters that clean images and ask no model.

    It copies and pickles as `LazyChain` does, and needs no runner in the preset.

    Args:
        preset: what to load; must be given when `guard` is not.
        guard: a guard that is loaded already.
    """

    def __init__(self, preset: str | Path | None = None, guard: ImageGuard | None = None) -> None:
        super().__init__(preset, guard, "guard")
        # What happens to an image does not depend on who answers.
        facts = _facts(self._config.model_copy(update={"runner": None}))
        if guard is not None:
            profile = guard.detector.profile
            facts["guard"] = None if profile is None else profile.fingerprint
        self._identity = {"guard": self._config.name, "fingerprint": _fingerprint(facts)}

    @property
    def identity(self) -> dict[str, Any]:
        """What a cleaned image depends on, as plain JSON values; the same before and after loading.

        `fingerprint` covers the config without its runner, and the contents of the anchor and
        profile files: two guards that could clean differently differ in it.
        """
        return dict(self._identity)

    def _load(self) -> ImageGuard:
        from guardalign_middleware.image_guard import ImageGuard

        return ImageGuard.from_config(self._config)


def _identity(config: GuardAlignConfig, chain: GuardAlign | None) -> dict[str, Any]:
    runner = config.runner if chain is None else chain.runner.config
    facts = _facts(config)
    facts["runner"] = None if runner is None else runner.model_dump(mode="json")
    if chain is not None:
        profile = chain.guard.detector.profile
        facts["chain"] = [chain.runner.name, None if profile is None else profile.fingerprint]
    identity: dict[str, Any] = {"guard": config.name, "fingerprint": _fingerprint(facts)}
    if runner is not None:
        identity |= {
            "safety_prefix": runner.prefix.text,
            "prefix_policy": runner.prefix.policy,
            "gamma": runner.calibration.gamma,
            "calibration_mode": runner.calibration.mode,
            "calibration_band": list(runner.calibration.band),
        }
    return identity


def _facts(config: GuardAlignConfig) -> dict[str, Any]:
    return {
        # Where verdicts are recorded changes none of them.
        "config": config.model_dump(mode="json", exclude={"audit"}),
        "files": [_digest(path) for path in (config.detection.anchors, config.detection.profile)],
    }


def _fingerprint(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _digest(path: Path | None) -> str:
    """Hash of a file's contents; a missing file is reported when the chain is loaded."""
    if path is None or not path.is_file():
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()
