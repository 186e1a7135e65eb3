"""Errors that Ray's own proxy answers, in OpenAI's shape.

Named in RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH, which `guardalign serve --ray` and the manifests
set: the proxy's own errors are plain text. It runs in the proxy's process, so it loads no model.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from guardalign_middleware.error_kinds import anthropic_kind, is_anthropic, openai_kind

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CALLBACK = f"{__name__}:middlewares"
"""The value of the variable."""
_VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
_CODES = {
    404: ("not_found", "There is no such endpoint."),
    408: ("timeout", "The request took too long."),
    413: ("body_too_large", "The request is too large."),
    429: ("overloaded", "Too many requests are waiting. Ask again later."),
    503: ("unavailable", "No server is ready. Ask again later."),
    504: ("timeout", "The server that had the request took too long."),
}
_REFUSED = ("invalid_value", "The request cannot be taken.")
_FAILED = ("internal_error", "The server that had the request failed.")


def set_up_proxies() -> None:
    """For a cluster that this process starts: errors of its proxies have OpenAI's shape."""
    os.environ.setdefault(_VARIABLE, CALLBACK)


def middlewares() -> list[Any]:
    """What Ray's proxy calls when it starts."""
    from starlette.middleware import Middleware

    return [Middleware(OpenAIErrors)]


class OpenAIErrors:
    """Replaces the body of an error that is plain text; ours are JSON already.

    Args:
        app: Ray's proxy.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"].startswith("/-/"):
            return await self._app(scope, receive, send)
        held: Message | None = None

        async def answered(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _is_rays(message):
                held = message
            elif held is None:
                await send(message)
            elif not message.get("more_body", False):
                await _send_error(held, scope["path"], send)

        await self._app(scope, receive, answered)


def _is_rays(start: Message) -> bool:
    kinds = [value for name, value in start["headers"] if name.lower() == b"content-type"]
    return start["status"] >= 400 and not any(
        kind.startswith(b"application/json") for kind in kinds
    )


async def _send_error(start: Message, path: str, send: Send) -> None:
    status = start["status"]
    body = error_body(status, path)
    kept = (b"retry-after", b"x-request-id")
    headers = [(name, value) for name, value in start["headers"] if name.lower() in kept]
    if status in {429, 503} and not any(name.lower() == b"retry-after" for name, _ in headers):
        headers.append((b"retry-after", b"1"))
    headers += [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def error_body(status: int, path: str) -> bytes:
    """The JSON of an error, in the shape of the clients of an endpoint.

    The proxy's text is left out: it can hold a traceback.

    Args:
        status: of HTTP.
        path: of the request.
    """
    code, message = _CODES.get(status, _REFUSED if status < 500 else _FAILED)
    kind = anthropic_kind(status) if is_anthropic(path) else openai_kind(status)
    body: dict[str, Any] = {
        "error": {"message": message, "type": kind, "param": None, "code": code}
    }
    if is_anthropic(path):
        body = {"type": "error", **body}
    return json.dumps(body).encode()
