"""Opt-in fetching of images from untrusted URLs: SSRF-safe, bounded, stateless.

A URL is followed only across hosts in `IntakePolicy.allow_url_hosts`. For each hop the name is
resolved once, all of its addresses must be public, and the connection goes to one of exactly these
addresses, so a second DNS answer cannot redirect it. Host header and TLS name remain those of the
URL. Nothing is taken from the environment or kept between requests: no proxies, cookies or
credentials. The server's content type is ignored; the decoder judges the bytes.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import cache

import httpx

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake.addresses import is_public_address
from guardalign_middleware.intake.budget import check_byte_count
from guardalign_middleware.own_loop import run_in_own_loop

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Printable ASCII without the characters that URL parsers disagree about.
_PLAIN_URL = re.compile(r"[!#-\[\]_a-z~]{1,8192}", re.IGNORECASE)
_HEADERS = {
    "User-Agent": "guardalign-middleware",
    "Accept": "image/*",
    # A compressed body could expand to more bytes than were counted.
    "Accept-Encoding": "identity",
}
_ALLOW = "Name the host in intake.allow_url_hosts, or download the image and pass its bytes."
_DOWNLOAD = "Download the image yourself and pass its bytes."


def resolve_host(host: str, port: int) -> list[str]:
    """All addresses of a host name, as resolved by the system.

    Raises:
        OSError: it has no address.
        ValueError: the name cannot be encoded.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


@dataclass(frozen=True)
class Network:
    """How host names become connections; not configurable, and replaced only by tests.

    Attributes:
        resolve: maps host name and port to addresses; may block.
        is_public: whether an address may be contacted.
        tls: trusted certificates; by default the authorities shipped with httpx.
    """

    resolve: Callable[[str, int], Sequence[str]] = resolve_host
    is_public: Callable[[str], bool] = is_public_address
    tls: ssl.SSLContext | None = None


_INTERNET = Network()


def url_label(url: str) -> str:
    """A URL's label in messages and logs: only its scheme, because URLs can carry secrets."""
    scheme = url.partition(":")[0].lower()
    return f"<{scheme} URL>" if scheme in _PORTS else "<URL>"


def fetch_bytes(url: str, policy: IntakePolicy, *, network: Network = _INTERNET) -> bytes:
    """Download an allowed URL; see `afetch_bytes`.

    Raises:
        ImageRejected: as for `afetch_bytes`.
    """
    return run_in_own_loop(lambda: afetch_bytes(url, policy, network=network))


async def afetch_bytes(url: str, policy: IntakePolicy, *, network: Network = _INTERNET) -> bytes:
    """Download an allowed URL without blocking the event loop.

    Args:
        url: an `https` URL; `http` only if listed in `policy.url_schemes`.
        policy: the allowed hosts, and the caps on bytes, seconds and redirects.
        network: for tests only.

    Returns:
        The body, at most `policy.max_bytes` bytes of unchecked content.

    Raises:
        ImageRejected: `url_not_allowed`, `address_not_allowed`, `too_many_redirects`, `timed_out`,
            `unreachable`, `empty` or `too_many_bytes`.
    """
    label = url_label(url)
    try:
        async with asyncio.timeout(policy.max_url_seconds):
            return await _follow(url, policy, network, label)
    except TimeoutError as error:
        raise ImageRejected(
            f"{label} took longer than {policy.max_url_seconds:g} seconds.",
            reason="timed_out",
            source=label,
            remedy="Try again later, or raise intake.max_url_seconds.",
        ) from error


async def _follow(url: str, policy: IntakePolicy, network: Network, label: str) -> bytes:
    current = _parse(url, policy, label)
    for _ in range(policy.max_url_redirects + 1):
        async with _get(current, network, policy, label) as response:
            if response.status_code not in _REDIRECTS:
                return await _read_body(response, policy, label)
            location = response.headers.get("Location", "")
        if not location:
            raise _unreachable("was answered with a redirect without a target", label)
        try:
            target = str(current.join(location))
        except (httpx.InvalidURL, ValueError) as error:
            raise _not_allowed("redirects to an invalid URL", label) from error
        current = _parse(target, policy, label)
    raise ImageRejected(
        f"{label} redirects more than {policy.max_url_redirects} times.",
        reason="too_many_redirects",
        source=label,
        remedy="Use the final URL, or raise intake.max_url_redirects.",
    )


def _parse(url: str, policy: IntakePolicy, label: str) -> httpx.URL:
    """Parse a URL once, so that the checked URL is the one contacted.

    Raises:
        ImageRejected: `url_not_allowed`.
    """
    if not _PLAIN_URL.fullmatch(url):
        raise _not_allowed("is too long or holds characters that URLs should not have", label)
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise _not_allowed("is not a valid URL", label) from error
    if parsed.scheme not in policy.url_schemes:
        raise _not_allowed(
            "has a scheme that is not allowed",
            label,
            remedy=f"Allowed by intake.url_schemes: {', '.join(policy.url_schemes) or 'none'}.",
        )
    if parsed.userinfo:
        raise _not_allowed("holds a user name or a password", label, remedy=_DOWNLOAD)
    host = _ascii_host(parsed)
    port = _port(parsed)
    usual = port == _PORTS[parsed.scheme]
    if f"{host}:{port}" not in policy.allow_url_hosts and not (
        usual and host in policy.allow_url_hosts
    ):
        raise _not_allowed("leads to a host and port that are not allowed", label, remedy=_ALLOW)
    return parsed


@asynccontextmanager
async def _get(
    url: httpx.URL, network: Network, policy: IntakePolicy, label: str
) -> AsyncIterator[httpx.Response]:
    """The response to one request on a fresh connection, with its body unread.

    There is no client around the transport: a client would keep cookies, read proxies and passwords
    from the environment, and log the URL.

    Raises:
        ImageRejected: `address_not_allowed` or `unreachable`.
    """
    addresses = await _addresses(url, network, label)
    trusted = network.tls or _tls_context()
    async with httpx.AsyncHTTPTransport(verify=trusted, trust_env=False) as transport:
        try:
            response = await _dial(transport, url, addresses, policy)
            async with aclosing(response):
                yield response
        except (httpx.HTTPError, OSError) as error:
            raise _unreachable("cannot be fetched", label) from error


async def _dial(
    transport: httpx.AsyncHTTPTransport,
    url: httpx.URL,
    addresses: Sequence[str],
    policy: IntakePolicy,
) -> httpx.Response:
    """Send the request to the first checked address that accepts a connection."""
    # The deadline of the whole fetch limits everything else.
    timeout = httpx.Timeout(None, connect=policy.max_url_seconds / len(addresses)).as_dict()

    def request_to(address: str) -> httpx.Request:
        return httpx.Request(
            "GET",
            url.copy_with(host=address),
            headers={"Host": url.netloc.decode("ascii"), **_HEADERS},
            extensions={"timeout": timeout, "sni_hostname": _ascii_host(url)},
        )

    *others, last = addresses
    for address in others:
        try:
            return await transport.handle_async_request(request_to(address))
        except (httpx.ConnectError, httpx.ConnectTimeout):
            continue
    return await transport.handle_async_request(request_to(last))


def _ascii_host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii").lower()


def _port(url: httpx.URL) -> int:
    return _PORTS[url.scheme] if url.port is None else url.port


async def _addresses(url: httpx.URL, network: Network, label: str) -> list[str]:
    """The addresses of a host, resolved once; a single non-public one rejects them all.

    Raises:
        ImageRejected: `unreachable` or `address_not_allowed`.
    """
    try:
        found = await _in_thread(lambda: network.resolve(_ascii_host(url), _port(url)))
    except (OSError, ValueError) as error:
        raise _unreachable("names a host that cannot be found", label) from error
    if not found:
        raise _unreachable("names a host that cannot be found", label)
    addresses = list(dict.fromkeys(found))
    if not all(map(network.is_public, addresses)):
        raise ImageRejected(
            f"{label} leads to an address that is not on the public internet.",
            reason="address_not_allowed",
            source=label,
            remedy="Serve the image from a public address, or read it and pass its bytes.",
        )
    return addresses


async def _in_thread(call: Callable[[], Sequence[str]]) -> Sequence[str]:
    """Run a call that may hang in a daemon thread; an executor would wait for it at exit."""
    done: Future[Sequence[str]] = Future()
    # Marked as running, so that a deadline cannot cancel the future while the thread uses it.
    done.set_running_or_notify_cancel()

    def work() -> None:
        try:
            done.set_result(call())
        except (OSError, ValueError) as error:
            done.set_exception(error)

    threading.Thread(target=work, name="guardalign-resolve", daemon=True).start()
    return await asyncio.wrap_future(done)


async def _read_body(response: httpx.Response, policy: IntakePolicy, label: str) -> bytes:
    """The body as sent, with the cap checked before and during the download.

    Raises:
        ImageRejected: `unreachable`, `empty` or `too_many_bytes`.
    """
    if response.status_code != 200:
        raise _unreachable(f"was answered with status {response.status_code}", label)
    if response.headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}:
        raise _unreachable("was answered with a compressed body", label)
    declared = response.headers.get("Content-Length", "")
    if declared.isdecimal():
        check_byte_count(int(declared), policy, label)
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > policy.max_bytes:
            break
    check_byte_count(len(body), policy, label)
    return bytes(body)


@cache
def _tls_context() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def _not_allowed(problem: str, label: str, *, remedy: str = _DOWNLOAD) -> ImageRejected:
    return ImageRejected(
        f"{label} {problem}.", reason="url_not_allowed", source=label, remedy=remedy
    )


def _unreachable(problem: str, label: str) -> ImageRejected:
    return ImageRejected(
        f"{label} {problem}.",
        reason="unreachable",
        source=label,
        remedy="Check the URL, or download the image and pass its bytes.",
    )
