"""Requests to a guard: pooled, bounded in time and size, repeated only where that is safe."""

from __future__ import annotations

import logging
import math
import ssl
import threading
from time import monotonic, sleep
from typing import Any

import httpx
from pydantic import SecretStr

from guardalign_middleware.connections import IDLE_SECONDS
from guardalign_middleware.errors import ConfigError, GuardAlignError, Overloaded, Unreachable
from guardalign_middleware.remote.address import label_of
from guardalign_middleware.scan_threads import current_caller
from guardalign_middleware.strict import Malformed, json_value
from guardalign_middleware.wire import Failure, check_version

STAGE = "remote"
_LOGGER = logging.getLogger(__name__)
_MOST_BYTES = 256 * 2**20
_CONNECT_SECONDS = 5.0
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 10.0
_DEPTH = 32
_WAITING = {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE}
_REFUSED = {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}
_CHECK = "Check the URL, that `guardalign serve` runs there, and the network; nothing was allowed."


class Connection:
    """The way to one guard; threads may share it, and each process opens sockets of its own.

    A request is repeated if it never reached the guard, or if the guard was full or closing
    (429, 503). A request that broke off later may have been answered, and recorded; it is not
    repeated. No redirect is followed, and proxies in the environment are ignored.

    Args:
        url: of the guard, with a slash at its end.
        key: for the guard; None sends none.
        timeout: seconds for one request, waiting for its turn included.
        retries: how often a request may be repeated.
        tls: trusted certificates; None = the authorities that httpx trusts.
    """

    def __init__(
        self,
        url: httpx.URL,
        key: SecretStr | None,
        timeout: float,
        retries: int,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._url = url
        self._urls: dict[str, httpx.URL] = {}
        self._headers = _headers(key)
        self._timeout = timeout
        self._retries = retries
        self._tls = tls
        self._closed = False
        self.label = label_of(url)
        self.forget()

    def forget(self) -> None:
        """Open no socket yet: at the start, and in a forked process, which must not share any."""
        self._lock = threading.Lock()
        self._transport: httpx.HTTPTransport | None = None

    def close(self) -> None:
        """Close the sockets; every later request is refused."""
        with self._lock:
            self._closed = True
            transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at a path; errors as for `post`."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: bytes) -> dict[str, Any]:
        """The JSON object that answers a JSON body.

        Raises:
            ConfigError: the key is refused, there is no guard of this version, or it is somewhere
                else.
            Overloaded: the guard was full or closing, also when asked again.
            Unreachable: it did not answer in time, or not as a guard does.
            GuardAlignError: whatever the guard raised.
            asyncio.CancelledError: the caller's task was cancelled.
        """
        return self._ask("POST", path, body)

    def unusable(self, what: str) -> Unreachable:
        """The error for an answer that cannot be trusted."""
        return Unreachable(f"The guard at {self.label} {what}.", stage=STAGE, remedy=_CHECK)

    def _ask(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        deadline = monotonic() + self._timeout
        caller = current_caller()
        for attempt in range(self._retries + 1):
            caller.check()
            wait = min(_FIRST_WAIT * 2**attempt, _LONGEST_WAIT)
            try:
                response, data = self._once(method, path, body, deadline)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                problem: GuardAlignError = self.unusable(
                    f"cannot be reached: {type(error).__name__}"
                )
                problem.__cause__ = error
            except httpx.TimeoutException as error:
                raise self._too_slow() from error
            except httpx.HTTPError as error:
                raise self.unusable(f"broke off: {type(error).__name__}") from error
            else:
                if response.status_code not in _WAITING:
                    return self._read(response, data)
                problem = self._refusal(response, data)
                wait = max(wait, _retry_after(response))
            if attempt == self._retries or monotonic() + wait > deadline:
                raise problem
            _LOGGER.info("The guard at %s is asked again in %.1f s.", self.label, wait)
            sleep(wait)
        raise AssertionError  # the last attempt returns or raises

    def _once(
        self, method: str, path: str, body: bytes | None, deadline: float
    ) -> tuple[httpx.Response, bytes]:
        left = max(deadline - monotonic(), 0.001)
        limits = httpx.Timeout(left, connect=min(left, _CONNECT_SECONDS))
        # The transport alone: it follows no redirect, keeps no cookies, reads no environment.
        response = self._open().handle_request(
            httpx.Request(
                method,
                self._url_of(path),
                headers=self._headers,
                content=body,
                extensions={"timeout": limits.as_dict()},
            )
        )
        data = bytearray()
        try:
            for chunk in response.iter_raw():
                data += chunk
                if len(data) > _MOST_BYTES:
                    raise self.unusable(f"answered with more than {_MOST_BYTES:,} bytes")
                if monotonic() > deadline:
                    raise self._too_slow()
        finally:
            response.close()
        return response, bytes(data)

    def _url_of(self, path: str) -> httpx.URL:
        if path not in self._urls:
            self._urls[path] = self._url.join(path)
        return self._urls[path]

    def _open(self) -> httpx.HTTPTransport:
        with self._lock:
            if self._closed:
                raise Unreachable(
                    f"The guard at {self.label} was closed.",
                    stage=STAGE,
                    remedy="Make a new RemoteImageGuard.",
                )
            if self._transport is None:
                self._transport = httpx.HTTPTransport(
                    verify=True if self._tls is None else self._tls,
                    trust_env=False,
                    limits=httpx.Limits(keepalive_expiry=IDLE_SECONDS),
                )
            return self._transport

    def _read(self, response: httpx.Response, data: bytes) -> dict[str, Any]:
        status = response.status_code
        if response.has_redirect_location:
            raise ConfigError(
                f"The guard at {self.label} redirects to another place.",
                remedy="Give the final URL: pictures are sent nowhere else.",
            )
        if status in _REFUSED:
            raise ConfigError(
                f"The guard at {self.label} refuses the key (status {status}).",
                remedy="Pass the key of `guardalign serve` as api_key.",
            )
        if status != httpx.codes.OK:
            raise self._refusal(response, data)
        body = self._json(data)
        check_version(body, f"The guard at {self.label}")
        return body

    def _refusal(self, response: httpx.Response, data: bytes) -> GuardAlignError:
        """The error of an answer that refuses: the guard's own one, where it says so."""
        status = response.status_code
        if status == httpx.codes.NOT_FOUND:
            return ConfigError(
                f"There is no guard at {self.label}.",
                remedy="Give the base URL of `guardalign serve`, without /v1.",
            )
        try:
            body = self._json(data)
        except Unreachable:
            body = {}
        if (failure := body.get("guardalign")) is not None:
            check_version(failure, f"The guard at {self.label}")
            try:
                return Failure.model_validate(failure).read()
            except ValueError as error:
                problem: GuardAlignError = self.unusable("gave an error that cannot be read")
                problem.__cause__ = error
                return problem
        said = body.get("error")
        reason = said.get("message") if isinstance(said, dict) else None
        text = f"answered with status {status}{f': {reason}' if reason else ''}"
        if status in _WAITING:
            return Overloaded(
                f"The guard at {self.label} {text}", stage=STAGE, remedy="Try again later."
            )
        return self.unusable(text)

    def _json(self, data: bytes) -> dict[str, Any]:
        try:
            body = json_value(data, max_depth=_DEPTH)
        except Malformed as error:
            raise self.unusable("gave an answer that is not JSON") from error
        if not isinstance(body, dict):
            raise self.unusable("gave an answer that is no JSON object")
        return body

    def _too_slow(self) -> Unreachable:
        return Unreachable(
            f"The guard at {self.label} did not answer within {self._timeout:g} seconds.",
            stage=STAGE,
            remedy="Raise timeout, or give the guard a faster device; nothing was allowed.",
        )


def _headers(key: SecretStr | None) -> httpx.Headers:
    headers = {
        "User-Agent": "guardalign-middleware",
        "Accept": "application/json",
        # A compressed answer could expand to more bytes than were counted.
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
    }
    if key is not None:
        headers["Authorization"] = f"Bearer {key.get_secret_value()}"
    return httpx.Headers(headers)


def _retry_after(response: httpx.Response) -> float:
    """The seconds for which a guard asks to wait."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() and len(text) < 9 else 0.0 if not text else math.inf
