"""Who may ask: the holder of the key, or, without one, programs of this machine."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from guardalign_middleware.listening import host_in, is_loopback
from guardalign_middleware.serving.errors import ApiError
from guardalign_middleware.serving.options import ServeOptions

OPEN_PATHS = frozenset({"/health", "/ready"})
"""For probes, which have no key; without it `/ready` gives no details."""

_NAMING = frozenset({b"host", b"origin"})

Headers = Iterable[tuple[bytes, bytes]]


class KeyCheck:
    """Compares keys in a time that does not depend on how much of a key is right."""

    def __init__(self, options: ServeOptions) -> None:
        self._digest = None if options.api_key is None else _digest(options.api_key.encode())

    def check(self, headers: Headers) -> None:
        """Refuse a request that may not be made.

        Raises:
            ApiError: 401 for a missing or wrong key; 403, where there is no key, for a page of
                another host that a browser has loaded.
        """
        if self._digest is None:
            _check_local(headers)
        elif not self.holds_key(headers):
            raise ApiError(
                401,
                "The API key is missing or wrong. Send it as: Authorization: Bearer KEY",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def holds_key(self, headers: Headers) -> bool:
        """Whether the right key was sent; True where there is none."""
        if self._digest is None:
            return True
        # All are compared: two different ones would be one for us and another for a proxy.
        given = list(_keys(headers))
        right = [hmac.compare_digest(_digest(key), self._digest) for key in given]
        return bool(right) and all(right)


class Auth:
    """Checks the key of every request but those of probes."""

    def __init__(self, app: ASGIApp, check: KeyCheck) -> None:
        self._app = app
        self._check = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            try:
                self._check.check(scope["headers"])
            except ApiError as error:
                return await error.response_at(scope["path"])(scope, receive, send)
        await self._app(scope, receive, send)


def _keys(headers: Headers) -> Iterable[bytes]:
    for name, value in headers:
        if name == b"x-api-key":
            yield value.strip()
        elif name == b"authorization":
            scheme, _, key = value.strip().partition(b" ")
            # Another scheme holds no key of ours, which is one that is wrong.
            yield key.strip() if scheme.lower() == b"bearer" else b""


def _digest(key: bytes) -> bytes:
    # Of one length, so that not even the length of the key can be measured.
    return hashlib.sha256(key).digest()


def _check_local(headers: Headers) -> None:
    """Without a key, a web page could ask through its reader's browser; it cannot hide its name."""
    for name, value in headers:
        if name in _NAMING and not _is_here(name, value):
            raise ApiError(
                403,
                f"Without a key, this server answers requests to this machine only. The "
                f"{name.decode().title()} header names another. Start it with --api-key-env.",
                code="host_not_allowed",
            )


@lru_cache(maxsize=64)
def _is_here(name: bytes, value: bytes) -> bool:
    """Whether a header names this machine; most requests of a client say the same."""
    text = value.decode("latin-1")
    return is_loopback(host_in(text if name == b"origin" else f"//{text}"))
