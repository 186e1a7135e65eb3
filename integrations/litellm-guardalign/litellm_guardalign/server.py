"""Asks `guardalign serve` about a request."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from litellm_guardalign.errors import Refused, SetupError, unreachable, unusable

_PATH = "v1/guard/conversation"
_MOST_BYTES = 256 * 2**20
_CONNECT_SECONDS = 5.0
# A request that never reached the guard may be sent again.
_CONNECTING = 2
# The guard closes an idle connection after five seconds, and so does httpx by default: a request
# that goes out in that moment fails. The other two are httpx's own.
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=4.0)
_EXAMPLE = 'Give the base URL of `guardalign serve`, such as "http://127.0.0.1:8000".'


@dataclass(frozen=True)
class Cleaned:
    """What the guard says about a request.

    Attributes:
        request: its fields, with every picture scanned and cleaned.
        reply: what to answer in the model's place; None if the request may go on.
        found: decisions and verdicts, as plain JSON values.
    """

    request: Mapping[str, Any]
    reply: str | None
    found: Mapping[str, Any]


class GuardServer:
    """One guard; tasks of one event loop share it.

    No redirect is followed, and proxies of the environment are ignored: pictures go nowhere else.

    Args:
        url: base URL of `guardalign serve`, without /v1.
        key: its key, or None.
        seconds: for one request.
        allow_http: whether pictures and key may leave this machine without encryption.

    Raises:
        SetupError: a value is wrong, or the environment names certificates that cannot be used.
    """

    def __init__(self, url: str, key: str | None, seconds: float, *, allow_http: bool) -> None:
        self._url = _checked_url(url, allow_http=allow_http)
        self.label = str(self._url).rstrip("/")
        headers = {"Accept-Encoding": "identity", "User-Agent": "litellm-guardalign"}
        if key is not None:
            headers["Authorization"] = f"Bearer {_checked_key(key)}"
        _check_seconds(seconds)
        timeout = httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))
        self._client = _client(headers, timeout)

    async def clean(self, request: Mapping[str, Any], dialect: str) -> Cleaned:
        """Have the pictures of a request cleaned.

        Args:
            request: the fields of its body.
            dialect: "chat", "responses" or "messages".

        Raises:
            Refused: the guard refuses the request, or cannot be asked.
        """
        body = await self._post(_json(request), dialect)
        cleaned, found = body.get("request"), body.get("guardalign")
        blocked, reply = body.get("blocked"), body.get("reply")
        if not (isinstance(cleaned, dict) and isinstance(found, dict)) or blocked not in (0, 1):
            raise unusable(self.label, "gave an answer without a cleaned request")
        if not cleaned.keys() <= request.keys() or (blocked and not isinstance(reply, str)):
            raise unusable(self.label, "gave an answer that contradicts itself")
        return Cleaned(cleaned, reply if blocked else None, found)

    async def _post(self, content: bytes, dialect: str) -> dict[str, Any]:
        data = bytearray()
        try:
            async with self._client.stream(
                "POST", self._url.join(_PATH), params={"dialect": dialect}, content=content
            ) as response:
                async for chunk in response.aiter_raw():
                    data += chunk
                    if len(data) > _MOST_BYTES:
                        raise unusable(self.label, f"answered with more than {_MOST_BYTES:,} bytes")
        except httpx.TimeoutException as error:
            raise unreachable(self.label, "did not answer in time") from error
        except httpx.HTTPError as error:
            raise unreachable(self.label, f"cannot be reached: {type(error).__name__}") from error
        body = _object(bytes(data))
        if response.status_code != httpx.codes.OK:
            raise self._refusal(response.status_code, body)
        if body is None:
            raise unusable(self.label, "gave an answer that is no JSON object")
        return body

    def _refusal(self, status: int, body: Mapping[str, Any] | None) -> Refused:
        said = body.get("error") if body is not None else None
        said = said if isinstance(said, dict) else {}
        message, code = said.get("message"), said.get("code")
        if status in {401, 403}:
            return Refused(
                500,
                f"The guard at {self.label} refuses the key. The request was not forwarded. Set "
                "api_key in the guardrail's section of the proxy's config to the key of "
                "`guardalign serve`.",
                "guard_key_refused",
            )
        if status == 404:
            return unusable(
                self.label,
                f"does not know the path {_PATH}",
                "As api_base, give the base URL of `guardalign serve`, without /v1.",
            )
        if not isinstance(message, str) or status < 400:
            return unusable(self.label, f"answered with status {status}")
        if status in {429, 503}:
            return Refused(503, f"The guard at {self.label} is busy: {message}", "guard_overloaded")
        if status >= 500:
            return unusable(self.label, f"failed: {message}")
        # The client's own mistake, in the guard's words.
        return Refused(status, message, code if isinstance(code, str) else "refused")


def _client(headers: Mapping[str, str], timeout: httpx.Timeout) -> httpx.AsyncClient:
    try:
        return httpx.AsyncClient(
            headers={**headers, "Content-Type": "application/json"},
            timeout=timeout,
            follow_redirects=False,
            transport=httpx.AsyncHTTPTransport(retries=_CONNECTING, limits=_LIMITS),
        )
    except (ImportError, OSError, ValueError) as error:
        raise SetupError(
            f"Connections to the guard cannot be set up ({type(error).__name__}). Correct or unset "
            "SSL_CERT_FILE and SSL_CERT_DIR."
        ) from error


def _json(request: Mapping[str, Any]) -> bytes:
    for key, value in request.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise Refused(
                400,
                f"{key} is not plain JSON, so that the guard cannot look into it. Send the request "
                "as JSON.",
                "invalid_json",
            ) from error
    return json.dumps(request, allow_nan=False).encode()


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _checked_url(url: str, *, allow_http: bool) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise SetupError(f"api_base should be a URL. {_EXAMPLE}") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise SetupError(f"api_base should start with https:// or http:// and a host. {_EXAMPLE}")
    given = str(url)
    if parsed.userinfo or "?" in given or "#" in given:
        raise SetupError(
            "api_base should hold no password, query or fragment. Pass the key as api_key."
        )
    port = 1 if parsed.port is None else parsed.port
    if not 1 <= port <= 65_535 or any(character.isspace() for character in given):
        raise SetupError(f"api_base should have no spaces, and a port from 1 to 65535. {_EXAMPLE}")
    if parsed.scheme == "http" and not allow_http and not _is_loopback(parsed.host):
        raise SetupError(
            f"Pictures and the key would travel to {parsed.host} without encryption. Use https, "
            "or, in a network that you trust, allow_http: true."
        )
    return parsed.copy_with(path=parsed.path.rstrip("/") + "/")


def _check_seconds(seconds: object) -> None:
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds
    if not 0 < number < float("inf"):
        raise SetupError(
            f"timeout should be > 0 and finite, a number of seconds. Received {seconds!r}."
        )


def _checked_key(key: str) -> str:
    if not isinstance(key, str):
        raise SetupError("api_key should be a text. Put it in quotes.")
    if not key.strip():
        raise SetupError(
            "api_key is empty. Check that the variable it names is set, or leave it out."
        )
    if not (key.strip().isascii() and key.strip().isprintable()) or " " in key.strip():
        raise SetupError("api_key should hold printable ASCII characters only, and no spaces.")
    return key.strip()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
