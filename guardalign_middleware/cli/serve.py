"""`guardalign serve`: the guard as an HTTP service."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from guardalign_middleware.cli.console import (
    ALLOWED,
    INTERRUPTED,
    err,
    plain,
    without_loading_bars,
)
from guardalign_middleware.config import GuardAlignConfig, Mode
from guardalign_middleware.playground.extra import require_playground
from guardalign_middleware.serving.extra import require_extra


def run_serve(
    preset: str,
    options: dict[str, Any],
    *,
    mode: Mode | None = None,
    playground: bool = False,
    on_listening: Callable[[str], None] = lambda url: None,
) -> int:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        preset: name or path.
        options: fields of the section `serve` that the command line gives; None = the preset's.
        mode: whether the guard acts on what it finds; None = as the preset says.
        playground: whether `/playground` is served, too.
        on_listening: called with the server's address before it listens.

    Raises:
        GuardAlignError: the options are invalid, the port is taken, or a model cannot be loaded.
    """
    require_extra()
    if playground:
        require_playground()
    from guardalign_middleware.guard import GuardAlign
    from guardalign_middleware.image_guard import ImageGuard
    from guardalign_middleware.listening import bind, url_of
    from guardalign_middleware.serving.app import create_app
    from guardalign_middleware.serving.options import ServeOptions
    from guardalign_middleware.serving.server import log_to_stderr, serve
    from guardalign_middleware.serving.warm_up import warm_up

    without_loading_bars()
    config = GuardAlignConfig.load(preset).in_mode(mode)
    read = ServeOptions.read(config.serve, **options)
    # Before the models load, so that a port that is taken is reported at once.
    with bind(read.config.host, read.config.port) as bound:
        with err().status("loading the models"):
            served = (GuardAlign if read.config.upstream is None else ImageGuard).from_config(
                config
            )
            warm_up(served)
        log_to_stderr()
        app = create_app(served, read)
        if playground:
            from guardalign_middleware.playground.mount import mount_playground

            mount_playground(app)
        who = "this machine only" if read.api_key is None else "clients with the key"
        model = app.state.service.model
        err().print(f"serving {plain(model)} on {url_of(bound)} for {who}; stop with Ctrl-C")
        if config.mode == "observe":
            err().print("the guard only observes: every picture that can be scanned passes")
        if playground:
            err().print(f"the playground is at {url_of(bound)}/playground/")
        on_listening(url_of(bound))
        ended = serve(app, bound, pages=True) if playground else serve(app, bound)
        return INTERRUPTED if ended == signal.SIGINT else ALLOWED
