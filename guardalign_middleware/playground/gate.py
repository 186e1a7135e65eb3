"""Who may see the page: the holder of the key, or, without one, programs of this machine."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from guardalign_middleware.playground.sign_in import SIGN_IN
from guardalign_middleware.serving.auth import KeyCheck
from guardalign_middleware.serving.errors import ApiError
from guardalign_middleware.serving.exchange import Exchange
from guardalign_middleware.serving.service import Service

PATH = "/playground"
COOKIE = "guardalign_playground"
_SIGN_IN = f"{PATH}/sign-in"
_SECONDS = 12 * 3600

_POLICY = (
    # The page's own server and nothing else: the browser itself keeps the page offline.
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class Gate:
    """Leads requests under `/playground` to the page, within the server's key and limits.

    A browser cannot send a key with every request, so it is sent once, to a form, and a cookie
    stands for it: signed with a secret of this process, for this path, for twelve hours.

    Args:
        app: answers everything else.
        pages: answers what is under `/playground`.
        service: key and limits.
    """

    def __init__(self, app: ASGIApp, pages: ASGIApp, service: Service) -> None:
        self._app = app
        self._pages = pages
        self._bounded = Exchange(pages, service.admission, service.config)
        self._service = service
        self._keys = KeyCheck(service.options)
        self._secret = secrets.token_bytes(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, ask for the key, or refuse it."""
        path = scope.get("path", "")
        if scope["type"] == "lifespan" or not (path == PATH or path.startswith(f"{PATH}/")):
            return await self._app(scope, receive, send)
        if scope["type"] == "websocket":
            if self._refusal(scope) is not None or self._service.admission.closed_because:
                return await send({"type": "websocket.close", "code": 1008})
            return await self._pages(scope, receive, send)
        guarded = _with_headers(send, path)
        if path == _SIGN_IN and self._service.options.api_key is not None:
            # The body is bounded here, too.
            exchange = Exchange(self._sign_in, self._service.admission, self._service.config)
            return await exchange(scope, receive, guarded)
        refusal = self._refusal(scope)
        if refusal is not None:
            return await refusal(scope, receive, guarded)
        await self._bounded(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        """What a request gets that may not be made; None for others."""
        headers = Headers(scope=scope)
        try:
            if self._service.options.api_key is None:
                self._keys.check(scope["headers"])
                return None
            if self._keys.holds_key(scope["headers"]):
                return None
            if not _is_of_this_page(headers):
                return ApiError(403, "The page is of another host.").response_at(scope["path"])
            if self._is_signed_in(headers):
                return None
        except ApiError as error:
            return error.response_at(scope["path"])
        if scope["path"] in (PATH, f"{PATH}/"):
            return HTMLResponse(SIGN_IN, 401)
        return ApiError(401, "Sign in first.", code="invalid_api_key").response_at(scope["path"])

    async def _sign_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response: Response = HTMLResponse(SIGN_IN, 401)
        if request.method != "POST" or not _is_of_this_page(request.headers):
            return await response(scope, receive, send)
        fields = parse_qs((await request.body()).decode("utf-8", "replace"))
        key = fields.get("key", [""])[0].strip()
        if key.isascii() and self._keys.holds_key([(b"x-api-key", key.encode())]):
            response = RedirectResponse(f"{PATH}/", 303)
            response.set_cookie(
                COOKIE,
                self._signed(int(time.time()) + _SECONDS),
                max_age=_SECONDS,
                path=PATH,
                secure=scope.get("scheme") == "https",
                httponly=True,
                samesite="strict",
            )
        await response(scope, receive, send)

    def _is_signed_in(self, headers: Headers) -> bool:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        if morsel is None:
            return False
        until, _, _ = morsel.value.partition(".")
        if not (until.isascii() and until.isdigit() and len(until) < 12):
            return False
        genuine = hmac.compare_digest(self._signed(int(until)), morsel.value)
        return genuine and time.time() < int(until)

    def _signed(self, until: int) -> str:
        mark = hmac.new(self._secret, str(until).encode(), hashlib.sha256).hexdigest()
        return f"{until}.{mark}"


def _is_of_this_page(headers: Headers) -> bool:
    """Whether a browser sends this for a page of this server, or no browser does."""
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def _with_headers(send: Send, path: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["content-security-policy"] = _POLICY
            headers["x-content-type-options"] = "nosniff"
            headers["referrer-policy"] = "no-referrer"
            if not path.startswith(f"{PATH}/_nicegui/"):
                headers["cache-control"] = "no-store"
        await send(message)

    return sending
