"""The configuration of a server with its keys, checked before anything is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import ValidationError

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.config.base import invalid_fields
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.listening import is_loopback

MIN_KEY = 16
"""Fewest characters of a client's key; shorter ones can be guessed."""


@dataclass(frozen=True)
class ServeOptions:
    """How to serve, with the keys that the configuration names.

    Attributes:
        config: where to listen, and the limits.
        api_key: what clients must send; None = no key, on a loopback address only.
        upstream_key: for the service behind the guard.
    """

    config: ServeConfig = ServeConfig()
    api_key: str | None = field(default=None, repr=False)
    upstream_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.api_key is None and not is_loopback(self.config.host):
            raise ConfigError(
                f"The host {self.config.host} can be reached from outside, so it needs a key.",
                remedy="Set a variable, as in: export GUARDALIGN_KEY=$(openssl rand -hex 32), and "
                "pass --api-key-env GUARDALIGN_KEY.",
            )
        if self.api_key is not None and len(self.api_key) < MIN_KEY:
            raise ConfigError(
                f"The key for clients should have at least {MIN_KEY} characters. "
                f"It has {len(self.api_key)}.",
                remedy="Make one with: openssl rand -hex 32",
            )
        if self.config.upstream is None and self.config.upstream_key_env is not None:
            raise ConfigError("upstream_key_env should come with upstream.")

    @classmethod
    def read(
        cls, config: ServeConfig, environment: Mapping[str, str] = os.environ, **changes: Any
    ) -> Self:
        """The options of a configuration, with its keys from the environment.

        Args:
            config: the section `serve` of a preset.
            environment: holds the keys.
            changes: fields that replace the section's; None leaves a field as it is.

        Raises:
            ConfigError: a field is invalid, a variable is not set, a key is too short, or a host
                other than loopback has no key.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        try:
            config = ServeConfig(**{**config.model_dump(), **given})
        except ValidationError as error:
            raise ConfigError(f"The options are invalid: {invalid_fields(error)}.") from error
        return cls(
            config,
            _key(config.api_key_env, environment),
            _key(config.upstream_key_env, environment),
        )


def _key(name: str | None, environment: Mapping[str, str]) -> str | None:
    if name is None:
        return None
    key = environment.get(name, "").strip()
    if not key:
        raise ConfigError(
            f"The environment variable {name} should hold a key. It is not set, or empty.",
            remedy=f"Set it, as in: export {name}=$(openssl rand -hex 32)",
        )
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"The key in {name} should hold printable ASCII characters only.")
    return key
