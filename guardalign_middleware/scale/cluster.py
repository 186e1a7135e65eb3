"""Joining a cluster of Ray, or starting one on this machine for the time of a job."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.scale.extra import require_ray

LOCAL = "local"
"""The address of a cluster that is started on this machine and ends with the job."""
_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_MODE = "RAY_AUTH_MODE"
_QUIET = {
    # Reports of use would be sent to Ray's authors.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's own lines between ours; what failed is in its exceptions.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
_STORE_BYTES = 512 * 2**20


@contextmanager
def joined(address: str) -> Iterator[Any]:
    """Ray, joined to a cluster.

    Args:
        address: "auto" for the one that runs on this machine or that RAY_ADDRESS names, "local" for
            one of this process alone, or "host:port" of a cluster's head.

    Raises:
        ConfigError: Ray is not installed, this process has joined another cluster, there is no
            cluster at the address, or it wants another token.
    """
    require_ray()
    if address == LOCAL:
        give_token(os.environ)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        raise ConfigError(
            "This process has joined a cluster of Ray already.",
            remedy="Call ray.shutdown() first.",
        )
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if address == LOCAL:
        options |= {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
    try:
        ray.init(address=address, **options)
    except Exception as error:  # among others Exception itself, where a machine is too busy
        ray.shutdown()
        raise refusal(address, error) from error
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    try:
        yield ray
    finally:
        ray.shutdown()


def give_token(environment: MutableMapping[str, str], home: Path | None = None) -> None:
    """Give a cluster of this process a token of its own, unless one is set up.

    Ray 2.60 and later want one, and would write it into the home folder, which containers may not.

    Args:
        environment: of this process, which the cluster's processes get.
        home: where Ray looks for a token; None = the user's.
    """
    if any(environment.get(name) for name in (_MODE, *_TOKENS)):
        return
    if not ((home or Path.home()) / ".ray" / "auth_token").exists():
        environment[_MODE] = "token"
        environment[_TOKENS[0]] = secrets.token_hex(32)


def refusal(address: str, error: Exception) -> ConfigError:
    """What to do about a cluster that cannot be joined."""
    said = str(error).strip().partition("\n")[0] or type(error).__name__
    if "uthentication" in f"{type(error).__name__} {error}" or "token" in said:
        return ConfigError(
            f"The cluster of Ray at {address!r} wants a token: {said}",
            remedy="Put the cluster's token into RAY_AUTH_TOKEN, or its file's path into "
            "RAY_AUTH_TOKEN_PATH. On the head, `ray get-auth-token` prints it.",
        )
    return ConfigError(
        f"The cluster of Ray at {address!r} cannot be joined: {said}",
        remedy="Start one with `ray start --head`, name the address of its head, as in "
        '"10.0.0.1:6379", or use "local" for this machine alone.',
    )
