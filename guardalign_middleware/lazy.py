"""A chain that is loaded on first use: what every framework adapter holds."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from guardalign_middleware.config import GuardAlignConfig, RunnerConfig
from guardalign_middleware.errors import ConfigError

if TYPE_CHECKING:
    from guardalign_middleware.guard import GuardAlign


class LazyChain:
    """One chain, loaded once, however many threads ask.

    Copies are the same chain: models are never copied. A pickle holds the preset's name and loads
    again where it is opened.

    Args:
        preset: what to load; must be given when `chain` is not.
        chain: a chain that is loaded already.
    """

    def __init__(self, preset: str | Path | None = None, chain: GuardAlign | None = None) -> None:
        if (preset is None) == (chain is None):
            raise ConfigError("Exactly one of preset and chain should be given.")
        self._preset = preset
        self._chain = chain
        self._lock = threading.Lock()
        self._config = chain.config if chain is not None else GuardAlignConfig.load(preset or "")
        self._identity = _identity(self._config, chain)

    @property
    def config(self) -> GuardAlignConfig:
        """The preset's config, known without loading a model."""
        return self._config

    @property
    def runner_config(self) -> RunnerConfig | None:
        """The runner's config, known without loading a model; None where the preset has none."""
        return self._chain.runner.config if self._chain is not None else self._config.runner

    @property
    def identity(self) -> dict[str, Any]:
        """What an answer depends on, as plain JSON values; the same before and after loading.

        `fingerprint` covers the whole config and the contents of the anchor and profile files:
        two chains that could answer differently differ in it.
        """
        return dict(self._identity)

    def get(self) -> GuardAlign:
        """The chain.

        Raises:
            ConfigError: the preset has no profile or no runner, or the profile does not fit.
            ModelLoadError: a model cannot be loaded safely and completely.
        """
        with self._lock:
            if self._chain is None:
                # Here and not above: importing torch is the larger part of the waiting.
                from guardalign_middleware.guard import GuardAlign

                self._chain = GuardAlign.from_config(self._config)
            return self._chain

    async def aget(self) -> GuardAlign:
        """`get` without blocking the event loop."""
        return self._chain if self._chain is not None else await asyncio.to_thread(self.get)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def require_preset(self) -> str | Path:
        """The preset, which is all that a pickle holds.

        Raises:
            TypeError: made from a loaded chain, which cannot be pickled.
        """
        if self._preset is None:
            raise TypeError("A loaded chain cannot be pickled. Construct from a preset instead.")
        return self._preset

    def __reduce__(self) -> tuple[type[LazyChain], tuple[str | Path]]:
        return LazyChain, (self.require_preset(),)


def _identity(config: GuardAlignConfig, chain: GuardAlign | None) -> dict[str, Any]:
    runner = config.runner if chain is None else chain.runner.config
    facts: dict[str, Any] = {
        "config": config.model_dump(mode="json"),
        "runner": None if runner is None else runner.model_dump(mode="json"),
        "files": [_digest(path) for path in (config.detection.anchors, config.detection.profile)],
    }
    if chain is not None:
        profile = chain.guard.detector.profile
        facts["chain"] = [chain.runner.name, None if profile is None else profile.fingerprint]
    text = json.dumps(facts, sort_keys=True)
    identity: dict[str, Any] = {
        "guard": config.name,
        "fingerprint": hashlib.sha256(text.encode()).hexdigest(),
    }
    if runner is not None:
        identity |= {
            "safety_prefix": runner.prefix.text,
            "prefix_policy": runner.prefix.policy,
            "gamma": runner.calibration.gamma,
            "calibration_mode": runner.calibration.mode,
            "calibration_band": list(runner.calibration.band),
        }
    return identity


def _digest(path: Path | None) -> str:
    """Hash of a file's contents; a missing file is reported when the chain is loaded."""
    if path is None or not path.is_file():
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()
