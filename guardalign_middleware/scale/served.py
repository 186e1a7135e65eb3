"""What a replica serves, and how it changes to another preset without a dropped request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardalign_middleware.config import GuardAlignConfig, Mode
from guardalign_middleware.detection import Detector
from guardalign_middleware.detection.profile import ThresholdProfile
from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.identity import meters_key, runner_key
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.serving.app import create_app
from guardalign_middleware.serving.options import ServeOptions
from guardalign_middleware.serving.warm_up import warm_up
from guardalign_middleware.start_checks import require_profile

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """A guard, perhaps with a model behind it, and the app in front.

    Attributes:
        config: of the guard.
        models: the chain that answers, or the guard alone.
        app: answers requests.
        loaded_as: the key of what the detector measures with, and that of the model; by contents,
            as they were before the files were read.
    """

    config: GuardAlignConfig
    models: GuardAlign | ImageGuard
    app: FastAPI
    loaded_as: tuple[str, str] = ("", "")

    @property
    def guard(self) -> ImageGuard:
        """The guard."""
        guard = self.models.guard if isinstance(self.models, GuardAlign) else self.models
        assert isinstance(guard, ImageGuard)  # loaded here, it is in this process
        return guard


def load_served(
    preset: str,
    options: Mapping[str, Any],
    before: Served | None = None,
    *,
    mode: Mode | None = None,
) -> Served:
    """Load what a preset describes.

    Where the models and the files that they depend on are those of before, by their contents, they
    are kept, so that new thresholds take no memory and no time. Whether a model or an upstream
    answers is as the options say now, whatever it was before.

    Args:
        preset: name or path.
        options: fields of the section `serve`, as for `ServeOptions.read`.
        before: what is served now.
        mode: whether the guard acts on what it finds; None = as the preset says.

    Raises:
        GuardAlignError: the preset or an option is wrong, the profile was fitted for other parts,
            or a model cannot be loaded.
    """
    config = GuardAlignConfig.load(preset).in_mode(mode)
    read = ServeOptions.read(config.serve, **options)
    require_profile(config)
    keys = meters_key(config), "" if config.runner is None else runner_key(config.runner)
    models = None if before is None or keys != before.loaded_as else _kept(before, config, read)
    if models is None:
        loaded = GuardAlign if read.config.upstream is None else ImageGuard
        models = loaded.from_config(config)
    # Also of models that are kept: what reads words may be new.
    warm_up(models)
    return Served(config, models, create_app(models, read), keys)


def _kept(
    before: Served, config: GuardAlignConfig, options: ServeOptions
) -> GuardAlign | ImageGuard | None:
    """The models of before under a config; None if it needs one that answers."""
    runner = None
    if options.config.upstream is None:
        if not isinstance(before.models, GuardAlign):
            return None
        runner = before.models.runner
    place = config.detection.profile  # None = without thresholds, a guard only observes
    profile = None if place is None else ThresholdProfile.load(place)
    detector = Detector(before.guard.detector.meters, config.detection, profile)
    guard = ImageGuard(config, detector)
    return guard if runner is None else GuardAlign(guard, runner)


class _AtWork:
    """An app from its start to the end of its last request."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._lifespan = AsyncExitStack()
        self._requests = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def start(self) -> None:
        """Start what the app runs on, such as its connections."""
        app = self.served.app
        await self._lifespan.enter_async_context(app.router.lifespan_context(app))

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        self._requests += 1
        self._idle.clear()
        try:
            await self.served.app(scope, receive, send)
        finally:
            self._requests -= 1
            if self._requests == 0:
                self._idle.set()

    async def end(self) -> None:
        """End what the app runs on; requests at work would fail."""
        await self._lifespan.aclose()

    async def end_when_idle(self) -> None:
        """End after the last request; none may come any more."""
        await self._idle.wait()
        await self.end()


class Switch:
    """An app that can be replaced while requests are at work, which end with the app they began."""

    def __init__(self) -> None:
        self._now: _AtWork | None = None
        self._changing = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()

    async def change(
        self, preset: str, options: Mapping[str, Any], mode: Mode | None = None
    ) -> None:
        """Serve another preset from now on.

        If it cannot be loaded, what is served stays, and an error is logged: a replica that ended
        would take the requests at work with it.

        Raises:
            GuardAlignError: nothing is served yet, and the preset cannot be loaded.
        """
        async with self._changing:
            before = self._now
            try:
                known = None if before is None else before.served
                served = await asyncio.to_thread(load_served, preset, options, known, mode=mode)
            except GuardAlignError as error:
                if before is None:
                    raise
                _LOGGER.error("The preset %s is not served: %s", preset, error)
                return
            now = _AtWork(served)
            await now.start()
            self._now = now
            if before is not None:
                # Not awaited: an answer can take longer than Ray waits for a change.
                ending = asyncio.create_task(before.end_when_idle())
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)

    @property
    def profile(self) -> str:
        """The fingerprint of the thresholds that decide now."""
        assert self._now is not None
        profile = self._now.served.guard.detector.profile
        return "" if profile is None else profile.fingerprint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request by what is served when it comes."""
        if scope["type"] == "lifespan":
            return await self._lifespan(receive, send)
        assert self._now is not None  # a replica takes requests when it has loaded
        await self._now.answer(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """The replica starts with nothing served, and ends after its last request."""
        while True:
            message = await receive()
            ends = message["type"] == "lifespan.shutdown"
            if ends and self._now is not None:
                await self._now.end()
            await send({"type": f"{message['type']}.complete"})
            if ends:
                return
