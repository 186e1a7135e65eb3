"""Connections to other services: their address, their key, and what the environment names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import SplitResult, urlsplit

import httpx
from pydantic import SecretStr

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.listening import is_loopback

IDLE_SECONDS = 4.0
"""How long an unused connection is kept. Many servers run on uvicorn, which closes one after five
seconds, as httpx does by default: a request that goes out in that moment fails."""


@contextmanager
def setting_up(service: str) -> Iterator[None]:
    """Turn what httpx raises while a client is made into one error, which quotes no password.

    Args:
        service: what the connections lead to, in words.

    Raises:
        ConfigError: the environment names a proxy or certificates that cannot be used.
    """
    try:
        yield
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        raise ConfigError(
            f"Connections to the {service} cannot be set up ({type(error).__name__}).",
            remedy="A proxy or certificates that the environment names cannot be used. Correct "
            "or unset HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR.",
        ) from error


def service_url(url: str, service: str) -> SplitResult:
    """The parts of the base URL of a service with OpenAI's interface.

    Args:
        url: as in "https://api.openai.com/v1".
        service: what is there, in words.

    Raises:
        ConfigError: it is no http or https URL, or holds a password, a query or a fragment.
    """
    parts = plain_url(url)
    if parts is None or "?" in url or "#" in url:
        raise ConfigError(
            f"{shown_url(url)!r} is not the URL of a {service}.",
            remedy='It should look like "https://api.openai.com/v1", without key or query.',
        )
    return parts


def service_headers(service: SplitResult, key_variable: str | None) -> dict[str, str]:
    """The headers of every request to a service.

    Args:
        service: from `service_url`.
        key_variable: environment variable with the key; None = the service needs none.

    Raises:
        ConfigError: the variable is not set, no header can hold the key, or the key would travel
            unencrypted.
    """
    headers = {"User-Agent": "guardalign-middleware"}
    if key_variable is None:
        return headers
    key = checked_key(
        os.environ.get(key_variable, "").strip() or None, f"The key in {key_variable}"
    )
    if key is None:
        raise ConfigError(
            f"The environment variable {key_variable} is not set.",
            remedy="Set it to the service's key, or key_variable to None.",
        )
    if service.scheme == "http" and not is_loopback(service.hostname or ""):
        raise ConfigError(
            f"The key would travel to {service.hostname} without encryption.",
            remedy="Use https, or set key_variable to None.",
        )
    return headers | {"Authorization": f"Bearer {key.get_secret_value()}"}


def checked_key(key: str | None, label: str = "api_key") -> SecretStr | None:
    """A key, hidden from representations and logs.

    Args:
        key: None = none is sent.
        label: what errors call it.

    Raises:
        ConfigError: no header can hold it.
    """
    if key is None:
        return None
    if not isinstance(key, str) or not key.strip():
        raise ConfigError(f"{label} should be a key, or None.", remedy="Check where it is read.")
    key = key.strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(f"{label} should hold printable ASCII characters only, and no spaces.")
    return SecretStr(key)


def plain_url(url: str) -> SplitResult | None:
    """The parts of an http or https URL; None if no request could be sent there.

    A URL with a password counts as none: it would show up where URLs do.
    """
    try:
        parts = urlsplit(url)
        plain = parts.port != 0 and not (parts.username or parts.password)
        plain = plain and not any(character.isspace() for character in url)
        httpx.URL(url)  # knows more of hosts and characters
    except (ValueError, httpx.InvalidURL):
        return None
    return parts if plain and parts.scheme in {"http", "https"} and parts.hostname else None


def shown_url(url: str) -> str:
    """A URL for errors, without what could be a key."""
    return url.rpartition("@")[2].partition("?")[0][:200]
