"""The connections to the upstream, and what its failures mean for a client."""

from __future__ import annotations

from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.connections import IDLE_SECONDS, plain_url, setting_up, shown_url
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.serving.errors import ApiError

FAILURES = (httpx.HTTPError, httpx.InvalidURL)
"""What httpx raises for a fault of an upstream; `InvalidURL` if it redirects to no address."""
_DEFAULT_PREFIX = "/v1"
_CONNECT_SECONDS = 10.0


class Upstream:
    """A service behind the guard; connections are kept for the next request until it is closed.

    Args:
        config: its address, and how long it may be silent.
        transport: carries the requests; None = the network.

    Raises:
        ConfigError: the address is no plain http or https URL, or the environment names a proxy or
            certificates that cannot be used.
    """

    def __init__(
        self, config: ServeConfig, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.base = base_url(config.upstream or "")
        self._config = config
        self._transport = transport
        # At once, so that a server that could reach nothing does not start.
        self._client: httpx.AsyncClient | None = self._connections()

    async def open(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        params: Mapping[str, str],
        content: bytes | None = None,
    ) -> httpx.Response:
        """Send a request, and return the response as soon as its headers are there.

        The caller closes the response.

        Raises:
            ApiError: 502 if the upstream cannot be reached or speaks no HTTP, 504 if it is silent;
                400 if the path and the parameters are too long.
        """
        client = self._client = self._client or self._connections()
        # As bytes: a client's headers need not be ASCII.
        sent = {name.encode("latin-1"): value.encode("latin-1") for name, value in headers.items()}
        try:
            request = client.build_request(
                method, f"{self.base}{path}", params=params, headers=sent, content=content
            )
        except httpx.InvalidURL as error:
            raise ApiError(
                400, "The address of the request is too long.", code="invalid_value"
            ) from error
        try:
            response = await client.send(request, stream=True)
        except FAILURES as error:
            raise failure(error) from error
        # It has a character for every byte, so headers go on as they came.
        response.headers.encoding = "latin-1"
        return response

    async def aclose(self) -> None:
        """Close all connections; the next request opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _connections(self) -> httpx.AsyncClient:
        config = self._config
        with setting_up("upstream"):
            return httpx.AsyncClient(
                transport=self._transport,
                timeout=httpx.Timeout(config.upstream_seconds, connect=_CONNECT_SECONDS),
                limits=httpx.Limits(
                    max_connections=config.max_requests,
                    max_keepalive_connections=config.max_requests,
                    keepalive_expiry=IDLE_SECONDS,
                ),
                # A redirect could lead to another host, with the key.
                follow_redirects=False,
                headers={"user-agent": "guardalign"},
                # A cookie for one client would go with the requests of all others.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            )


def base_url(url: str) -> str:
    """The part of all URLs of a service that comes before `/chat/completions`.

    Without a path, it is `/v1`; clients of Anthropic write their base URL without one.

    Raises:
        ConfigError: it is no plain http or https URL.
    """
    parts = plain_url(url)
    if parts is None:
        raise ConfigError(
            f"The upstream should be an http or https URL. Received {shown_url(url)!r}.",
            remedy="Write it as in https://api.openai.com/v1, with the key in a variable of its "
            "own: --upstream-key-env NAME.",
        )
    if parts.query or parts.fragment:
        raise ConfigError("The URL of the upstream should have no query and no fragment.")
    path = parts.path.rstrip("/") or _DEFAULT_PREFIX
    return f"{parts.scheme}://{parts.netloc}{path}"


def failure(error: httpx.HTTPError | httpx.InvalidURL) -> ApiError:
    """The refusal for one of `FAILURES`; it names neither address nor key."""
    kind = type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return ApiError(504, f"The upstream took too long ({kind}).", code="upstream_timeout")
    if isinstance(error, httpx.ConnectError):
        return ApiError(502, "The upstream cannot be reached.", code="upstream_unreachable")
    return ApiError(502, f"The upstream failed ({kind}).", code="upstream_failed")


def refusal(response: httpx.Response, answer: Any, *, own_key: bool) -> ApiError | None:
    """The refusal for a response that a client cannot use; None if it can.

    Args:
        response: of the upstream.
        answer: its JSON; None if it cannot be read as such.
        own_key: whether the server's key was sent.
    """
    status = response.status_code
    if own_key and status in {401, 403, 407}:
        # Its text may quote the key, which is none of the client's business.
        return ApiError(502, "The upstream refuses the server's key.", code="upstream_key_refused")
    if not (200 <= status < 300 or 400 <= status < 600):
        message = f"The upstream answered with status {status}."
        return ApiError(502, message, code="upstream_failed")
    if isinstance(answer, dict):
        return None
    if status >= 400:
        return ApiError(status, f"The upstream answered with status {status}.", code="upstream")
    return ApiError(502, "The upstream's answer is not JSON.", code="upstream_failed")
