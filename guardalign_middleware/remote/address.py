"""Where a remote guard is: checked before anything is sent."""

from __future__ import annotations

import httpx

from guardalign_middleware.connections import plain_url
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.listening import is_loopback


def checked_url(url: str, *, allow_http: bool) -> httpx.URL:
    """The base URL of a guard.

    Raises:
        ConfigError: no request could be sent there; it holds a password, a query or a fragment,
            even an empty one; or it leads out of this machine without encryption.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise ConfigError("url should be a URL.", remedy=_EXAMPLE) from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ConfigError("url should start with https:// or http:// and a host.", remedy=_EXAMPLE)
    given = str(url)
    if parsed.userinfo or "?" in given or "#" in given:
        raise ConfigError(
            "url should hold no password, query or fragment.", remedy="Pass the key as api_key."
        )
    if plain_url(given) is None:
        raise ConfigError("url should have no spaces, and a port from 1 to 65535.", remedy=_EXAMPLE)
    if parsed.scheme == "http" and not allow_http and not is_loopback(parsed.host):
        raise ConfigError(
            f"Pictures and the key would travel to {parsed.host} without encryption.",
            remedy="Use https, or, in a network that you trust, allow_http=True.",
        )
    return parsed.copy_with(path=parsed.path.rstrip("/") + "/")


def label_of(url: httpx.URL) -> str:
    """The URL in errors; it holds no secret."""
    return str(url).rstrip("/")


_EXAMPLE = 'Give the base URL of `guardalign serve`, such as "http://127.0.0.1:8000".'
