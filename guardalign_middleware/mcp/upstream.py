"""The MCP server behind streamable HTTP: where it is, and which headers reach it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from guardalign_middleware.connections import IDLE_SECONDS, plain_url
from guardalign_middleware.errors import ConfigError, GuardAlignError

Headers = list[tuple[str, str]]

_CONNECT_SECONDS = 10.0
# Of one connection, or written anew because the body may be another.
_OWN = frozenset(
    "connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer"
    " transfer-encoding upgrade host content-length content-encoding accept-encoding expect".split()
)
# What a request of our own takes from the client's one.
_SESSION = frozenset({"authorization", "cookie", "mcp-session-id", "mcp-protocol-version"})
_CHARSET = re.compile(r"charset([^=;,]*)=[\s\"']*([^\s;,\"']*)", re.IGNORECASE)
# Each byte below 128 means the same in these, so that none hides a picture in base64.
_LIKE_ASCII = frozenset({"ascii", "utf-8", "utf-8-sig", "iso8859-1", "iso8859-15", "cp1252"})


class UpstreamFailed(GuardAlignError):
    """The server behind the proxy gave no answer that can be passed on."""


class Upstream:
    """Sends requests to one address. No redirect is followed.

    Args:
        url: of the server's endpoint.
        transport: carries the requests; None = the network.

    Raises:
        ConfigError: it is no http or https URL to which a request could be sent, or holds a
            password, a fragment or an empty query.
    """

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ConfigError("--url should be a URL.", remedy=_EXAMPLE) from error
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise ConfigError("--url should start with https:// or http://.", remedy=_EXAMPLE)
        if parsed.userinfo or "#" in url or ("?" in url and not parsed.query):
            raise ConfigError(
                "--url should hold no password, no fragment and no empty query.",
                remedy="Let the client send the key as a header: it is passed on.",
            )
        if plain_url(url) is None:
            raise ConfigError(
                "--url should have no spaces, and a port from 1 to 65535.", remedy=_EXAMPLE
            )
        self._url = parsed
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    @property
    def path(self) -> str:
        """The path of the endpoint, which is that of the proxy, too."""
        return self._url.path

    async def open(
        self, method: str, headers: Headers, query: Iterable[tuple[str, str]], content: bytes | None
    ) -> httpx.Response:
        """Send a request, and return the response as soon as its headers are there.

        Raises:
            UpstreamFailed: it cannot be reached, or redirects.
        """
        url = self._url.copy_merge_params(list(query)) if query else self._url
        client = self._connected()
        request = client.build_request(method, url, headers=headers, content=content)
        try:
            response = await client.send(request, stream=True)
        except httpx.TransportError as error:
            raise UpstreamFailed(f"The MCP server failed: {type(error).__name__}.") from error
        if response.has_redirect_location:
            await response.aclose()
            raise UpstreamFailed(
                "The MCP server redirects to another place, past this guard.",
                remedy="Give the final address as --url.",
            )
        return response

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            # A server may be silent for as long as a tool works.
            timeout = httpx.Timeout(None, connect=_CONNECT_SECONDS)
            limits = httpx.Limits(max_connections=None, keepalive_expiry=IDLE_SECONDS)
            self._client = httpx.AsyncClient(
                transport=self._transport,
                timeout=timeout,
                limits=limits,
                follow_redirects=False,
                trust_env=False,
                # Clients share the connections, and must not share what they are called by.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            )
            self._client.headers.clear()
        return self._client


def passing(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers that go on, in order; all but those of one connection."""
    given = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers]
    named = {
        each.strip().lower()
        for name, value in given
        if name == "connection"
        for each in value.split(",")
    }
    return [(name, value) for name, value in given if name not in _OWN | named]


def is_readable(content_type: str) -> bool:
    """Whether a body of this type is read here as any reader who goes by its charset reads it."""
    return all(
        not form.strip() and _codec(name) in _LIKE_ASCII
        for form, name in _CHARSET.findall(content_type)
    )


def _codec(charset: str) -> str | None:
    try:
        return codecs.lookup(charset).name
    except (LookupError, ValueError):
        return None


def request_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Those of a client's request; its answer comes uncompressed, so that it can be read."""
    return [*passing(headers), ("accept-encoding", "identity")]


def reply_headers(headers: Headers) -> Headers:
    """Those of an answer that the guard itself gives to the server, in a client's session."""
    return [
        *((name, value) for name, value in headers if name in _SESSION),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ]


_EXAMPLE = 'Give the address of the MCP endpoint, such as "https://mcp.example/mcp".'
