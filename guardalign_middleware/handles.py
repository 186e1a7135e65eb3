"""Handles on a chain or a guard that load it on first use; every framework adapter holds one."""

from __future__ import annotations

import asyncio
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from guardalign_middleware.config import GuardAlignConfig, Mode, RunnerConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.identity import (
    cache_identity,
    detector_key,
    guard_identity,
    guard_key,
    runner_key,
)
from guardalign_middleware.local_extra import require_local
from guardalign_middleware.miniature import is_its_own_model, is_miniature, miniature_warning
from guardalign_middleware.shared_models import Share, SharedModels
from guardalign_middleware.sources import check_loaded, check_preset, with_source
from guardalign_middleware.start_checks import check_chain, check_guard, require_runner

if TYPE_CHECKING:
    from guardalign_middleware.guard import GuardAlign
    from guardalign_middleware.image_guard import ImageGuard
    from guardalign_middleware.remote import RemoteImageGuard

    AnyGuard = ImageGuard | RemoteImageGuard
    """A loaded guard, in this process or in another one: adapters take either."""


class _Configured(Protocol):
    @property
    def config(self) -> GuardAlignConfig: ...


Loaded = TypeVar("Loaded", bound=_Configured)

_LOGGER = logging.getLogger(__name__)
_SHARED = SharedModels(guard=4, runner=1)
_QUIET: ContextVar[bool] = ContextVar("_QUIET", default=False)


class _Lazy(ABC, Generic[Loaded]):
    """A handle that loads once, however many threads ask."""

    def __init__(
        self,
        preset: str | Path | None,
        loaded: Loaded | None,
        kind: str,
        mode: Mode | None = None,
    ) -> None:
        if (preset is None) == (loaded is None):
            raise ConfigError(
                f"Exactly one of preset and {kind} should be given.",
                remedy=f"Give the name of a preset as preset=..., or what is loaded as {kind}=...",
            )
        if loaded is None:
            check_preset(preset, kind)
            require_local()
        else:
            check_loaded(loaded, kind)
            if mode is not None:
                raise ConfigError(f"mode needs a preset: a loaded {kind} has one of its own.")
        self._preset, self._mode = preset, mode
        self._loaded = loaded
        self._kind = kind
        self._lock = threading.Lock()
        config = loaded.config if loaded is not None else GuardAlignConfig.load(preset or "")
        self._config = config.in_mode(mode)
        if loaded is None:
            self._check_start()
        self._warned = False
        self._shares = self._find_shares() if loaded is None else ()

    @property
    def config(self) -> GuardAlignConfig:
        """The preset's config, known without loading a model."""
        return self._config

    def get(self) -> Loaded:
        """Return the chain or guard, loading it on the first call.

        Raises:
            ConfigError: anchors and profile do not belong together or to the encoder.
            AuditError: the audit log is damaged, or its key is gone.
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

    @abstractmethod
    def _check_start(self) -> None:
        """Find what would keep it from loading, as far as no model is needed to know."""

    def _find_shares(self) -> tuple[Share[Any], ...]:
        """Those of the detector and of the guard that the config describes."""
        keys = detector_key(self._config), guard_key(self._config)
        return tuple(_SHARED.share(key) for key in keys)

    def _shared_guard(self) -> ImageGuard:
        """The guard of the config; its detector is shared with guards of other settings."""
        # Imported on use: importing torch takes most of the loading time.
        from guardalign_middleware.detector_loading import load_detector
        from guardalign_middleware.image_guard import ImageGuard

        config = self._config
        # In a forked process, these are others than those from the start.
        self._shares = self._find_shares()
        scan, clean = self._shares[:2]
        _SHARED.keep("guard", scan, clean)
        detector = scan.get(lambda: load_detector(config))
        guard: ImageGuard = clean.get(lambda: ImageGuard(config, detector))
        return guard

    def _warn(self, what: str, owner: str) -> None:
        if not (self._warned or _QUIET.get()):
            self._warned = True
            _LOGGER.warning("%s", miniature_warning(self._config, owner, what))

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

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), (self.require_preset(),)


class LazyChain(_Lazy["GuardAlign"]):
    """A handle on a `GuardAlign` chain, loaded once, however many threads ask.

    Copying returns the same handle, because models are never copied. A pickle holds only the
    preset's name and loads again where it is opened.

    Args:
        preset: name or path of the preset to load.
        chain: a loaded chain, instead of `preset`.

    Raises:
        ConfigError: neither or both are given, the preset cannot be read or has no runner, or what
            loads it is missing: a threshold profile, a file, an extra.
        AuditError: the key of the audit log is missing or weak.
    """

    def __init__(self, preset: str | Path | None = None, chain: GuardAlign | None = None) -> None:
        super().__init__(preset, chain, "chain")
        self._identity = cache_identity(self._config, chain)
        model = None if self.runner_config is None else self.runner_config.model
        if is_miniature(self._config) and model is not None and not is_its_own_model(model):
            self._warn(f"the model {model}", type(self).__name__)

    @property
    def runner_config(self) -> RunnerConfig | None:
        """The runner's config, known without loading a model; None if the preset has no runner."""
        return self._loaded.runner.config if self._loaded is not None else self._config.runner

    @property
    def identity(self) -> dict[str, Any]:
        """What an answer depends on, as plain JSON values; the same before and after loading.

        `fingerprint` covers the whole config, the contents of the anchor and profile files, names,
        sizes and times of the weight files in a local folder, and a hook for answers. Two chains
        that could answer differently have different fingerprints.
        """
        return dict(self._identity)

    def _check_start(self) -> None:
        check_chain(self._config)

    def _load(self) -> GuardAlign:
        from guardalign_middleware.generation import CalibratedRunner
        from guardalign_middleware.guard import GuardAlign

        config = require_runner(self._config)
        guard = self._shared_guard()
        share = self._shares[-1]
        _SHARED.keep("runner", share)
        return GuardAlign(guard, share.get(lambda: CalibratedRunner.from_config(config)))

    def _find_shares(self) -> tuple[Share[Any], ...]:
        runner = self._config.runner
        shares = super()._find_shares()
        return shares if runner is None else (*shares, _SHARED.share(runner_key(runner)))


class LazyGuard(_Lazy["AnyGuard"]):
    """A handle on a guard, for adapters that clean images and leave answering to others.

    It copies and pickles as `LazyChain` does. The preset needs no runner.

    Args:
        preset: name or path of the preset to load.
        guard: a loaded guard, or one in another process, instead of `preset`.
        mode: of a preset, whether the guard acts on what it finds; None = as it says.

    Raises:
        ConfigError: neither or both are given, a loaded guard has a `mode` beside it, the preset
            cannot be read, or something it needs is missing: a threshold profile, a file, an extra.
        AuditError: the key of the audit log is missing or weak.
    """

    def __init__(
        self,
        preset: str | Path | None = None,
        guard: AnyGuard | None = None,
        mode: Mode | None = None,
    ) -> None:
        super().__init__(preset, guard, "guard", mode)
        self._identity = guard_identity(self._config, guard)

    def warn_of_mini(self, owner: str) -> None:
        """Log a warning, once, if the guard is the miniature one, in front of another model.

        Args:
            owner: name of the adapter.
        """
        if is_miniature(self._config):
            self._warn("a model that is not its own", owner)

    @property
    def identity(self) -> dict[str, Any]:
        """What a cleaned image depends on, as plain JSON values; the same before and after loading.

        `fingerprint` covers the config without its runner, and the contents of the anchor and
        profile files. Two guards that could clean an image differently have different fingerprints.
        """
        return dict(self._identity)

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), (self.require_preset(), None, self._mode)

    def _check_start(self) -> None:
        check_guard(self._config)

    def _load(self) -> ImageGuard:
        return self._shared_guard()


def guard_handle(
    preset: str | Path | None = None,
    guard: AnyGuard | None = None,
    source: object = None,
    *,
    owner: str,
) -> LazyGuard:
    """The handle for an adapter's arguments, in front of a model that the preset does not know.

    There is no default: the caller chooses the guard of a model that is not ours.

    Args:
        preset: name or path of the preset to load.
        guard: a loaded guard, instead of `preset`.
        source: one or the other, as the adapter's positional argument.
        owner: name of the adapter, for errors and for the warning of `LazyGuard.warn_of_mini`.

    Raises:
        ConfigError: none or several of them are given, one has the wrong type, the preset cannot be
            read, or what loads it is missing.
        AuditError: the key of the audit log is missing or weak.
    """
    given = with_source(source, {"preset": preset, "guard": guard}, "guard", owner)
    preset, guard = given["preset"], given["guard"]
    if preset is None and guard is None:
        raise ConfigError(
            f"{owner} needs a preset or a guard.",
            remedy="Write one with `guardalign init --preset clip-vit-l-14-336` and pictures of "
            'your own, and give its file: preset="guard.yaml". To try it on drawn pictures, give '
            'preset="mini".',
        )
    handle = LazyGuard(preset=preset, guard=guard)
    handle.warn_of_mini(owner)
    return handle


@contextmanager
def no_warnings() -> Iterator[None]:
    """Make handles without a warning: for a copy of an adapter, or a guard of its own model."""
    token = _QUIET.set(True)
    try:
        yield
    finally:
        _QUIET.reset(token)


def release_models() -> None:
    """Drop the models that were used last and that no adapter holds any more.

    Adapters of one preset share its models. A process keeps those of the four guards and of the one
    runner that were used last, for the next adapter that is made.
    """
    _SHARED.release()
