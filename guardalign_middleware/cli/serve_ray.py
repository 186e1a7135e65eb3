"""`guardalign serve --ray`: the servers of a cluster."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from types import FrameType
from typing import Any, NoReturn

from guardalign_middleware.cli.console import ALLOWED, err, plain
from guardalign_middleware.config import GuardAlignConfig, Mode
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.scale.cluster import LOCAL, joined
from guardalign_middleware.scale.extra import require_ray


def run_serve_on_ray(
    preset: str,
    options: dict[str, Any],
    *,
    address: str,
    replicas: str | None,
    mode: Mode | None = None,
) -> int:
    """Start servers on a cluster, or change what they serve.

    On a cluster of this command alone, they end with it; elsewhere, they stay.

    Args:
        preset: name or path.
        options: fields of the section `serve` that the command line gives; None = the preset's.
        address: of the cluster.
        replicas: "N" or "LEAST:MOST"; None = one.
        mode: whether the guard acts on what it finds; None = as the preset says.

    Raises:
        GuardAlignError: an option is invalid, the cluster cannot be joined, or the servers cannot
            start.
    """
    require_ray(serving=True)
    from guardalign_middleware.scale.application import Arguments
    from guardalign_middleware.scale.engine import Actors
    from guardalign_middleware.scale.proxy import set_up_proxies
    from guardalign_middleware.scale.serving import deploy, end

    config = GuardAlignConfig.load(preset)
    given = {name: value for name, value in options.items() if value is not None}
    fields = {"host": config.serve.host, "port": config.serve.port, **given}
    if address == LOCAL:
        set_up_proxies()
    with ExitStack() as stack:
        try:
            with err().status("joining the cluster"):
                ray = stack.enter_context(joined(address))
        except SystemExit:  # Ray's own end at SIGTERM, when it has ended its processes
            return ALLOWED
        # Ray's handler would end its processes while this one still talks to them.
        signal.signal(signal.SIGTERM, _end)
        half = Actors().gpus_in(ray.cluster_resources(), config)
        arguments = Arguments.read(
            {
                "preset": preset,
                "options": fields,
                "mode": mode,
                "replicas": _numbers(replicas),
                "gpus": 1.0 if half else 0.0,
            }
        )
        with err().status("starting the servers"):
            url = deploy(ray, arguments)
        if config.in_mode(mode).mode == "observe":
            err().print("the guard only observes: every picture that can be scanned passes")
        if address != LOCAL:
            err().print(f"serving on {plain(url)}; the same command with another preset changes it")
            return ALLOWED
        err().print(f"serving on {plain(url)}; stop with Ctrl-C")
        try:
            threading.Event().wait()
        finally:
            end()
    return ALLOWED


def _numbers(replicas: str | None) -> tuple[int, int]:
    least, colon, most = (replicas or "1").partition(":")
    if not (least.isdecimal() and (most.isdecimal() or not colon)):
        raise ConfigError(
            f"--replicas should be a number, or two, as in 2:8. Received {replicas!r}."
        )
    return int(least), int(most or least)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """End as after the last request, whatever is under way."""
    raise SystemExit(ALLOWED)
