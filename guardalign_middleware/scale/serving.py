"""Putting the application on a cluster, and changing what it serves."""

from __future__ import annotations

import logging
from typing import Any

from guardalign_middleware.config import GuardAlignConfig, Mode
from guardalign_middleware.errors import ConfigError, GuardError
from guardalign_middleware.scale.application import LOGS, NAME, Arguments, build, limits_of
from guardalign_middleware.scale.engine import own_error


def deploy(ray: Any, arguments: Arguments) -> str:
    """Serve on the cluster that this process has joined, or change what is served there.

    Args:
        ray: from `cluster.joined`.
        arguments: of the application.

    Returns:
        The address of the proxies.

    Raises:
        ConfigError: an argument or the preset is invalid, or the cluster's proxies have another
            address.
        GuardError: Ray could not start the servers.
    """
    from ray import serve

    # Otherwise it tells each of its steps, on the standard error of this process. Importing it sets
    # the level, so ours comes after.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    limits = limits_of(arguments)
    if limits.port == 0:
        raise ConfigError("Ray's proxies need a port.", remedy="Give one with --port.")
    serve.start(
        proxy_location="EveryNode",
        http_options={"host": limits.host, "port": limits.port},
        logging_config=LOGS,
    )
    _check_address(limits.host, limits.port)
    try:
        if NAME in serve.status().applications:
            answers = limits.upstream is None
            tried = ray.remote(num_cpus=0)(try_preset)
            ray.get(tried.remote(arguments.preset, arguments.mode, answers=answers))
        serve.run(build(arguments.model_dump(mode="json")), name=NAME, route_prefix="/")
    except (ray.exceptions.RayError, RuntimeError) as error:
        own = own_error(error)
        if own is not None:
            raise own from None
        raise GuardError(
            f"Ray could not start the servers: {str(error).strip().splitlines()[-1]}",
            stage="cluster",
            remedy="`serve status` says more.",
        ) from error
    return f"http://{limits.host}:{limits.port}"


def try_preset(preset: str, mode: Mode | None, *, answers: bool) -> None:
    """Load what decides, on a machine of the cluster, before the servers take it over.

    Args:
        preset: name or path.
        mode: as for `load_served`.
        answers: whether the preset's own model does, and no upstream.

    Raises:
        ConfigError, ModelLoadError: they could not.
    """
    from guardalign_middleware.detector_loading import load_detector
    from guardalign_middleware.start_checks import require_profile, require_runner
    from guardalign_middleware.words_loading import load_words

    config = GuardAlignConfig.load(preset).in_mode(mode)
    require_profile(config)
    if answers:
        require_runner(config)
    load_detector(config)
    load_words(config)


def end() -> None:
    """End the servers after the requests at work."""
    from ray import serve

    serve.delete(NAME)


def _check_address(host: str, port: int) -> None:
    """Proxies that are there already keep their address, whatever is asked for."""
    from ray.serve.context import _get_global_client

    have = _get_global_client().http_config
    if (have.host, have.port) != (host, port):
        raise ConfigError(
            f"The proxies of this cluster listen on {have.host}:{have.port}, and not on "
            f"{host}:{port}.",
            remedy="Give that address with --host and --port, or end them with `serve shutdown`.",
        )
