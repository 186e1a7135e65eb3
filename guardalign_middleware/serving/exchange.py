"""One request from its first byte to its last: body, limits, and a client that leaves."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.serving.admission import Admission
from guardalign_middleware.serving.errors import ApiError, as_api_error

WORK = "/v1/"
"""Requests that send something there do work, so they need a place."""
_MOST_DIGITS = 20


class Exchange:
    """Reads a request's body within limits, and stops the work when its client leaves.

    Args:
        app: answers requests whose bodies have arrived.
        admission: gives a place to each request that does work.
        config: the limits.
    """

    def __init__(self, app: ASGIApp, admission: Admission, config: ServeConfig) -> None:
        self._app = app
        self._admission = admission
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever fails before its response starts is an error in JSON."""
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1003})
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            async with asyncio.timeout(self._config.stalled_seconds):
                await send(message)

        try:
            with ExitStack() as places:
                if scope["path"].startswith(WORK) and scope["method"] != "GET":
                    places.enter_context(self._admission.slot())
                body = await self._read(scope, receive)
                await self._until_left(scope, body, receive, noted)
        except _Left:
            pass
        except Exception as error:  # noqa: BLE001 (the last resort: uvicorn would log its text)
            refusal = as_api_error(error)
            # Too late for a status, the connection is cut, which clients take for a failure.
            if not started:
                await refusal.response_at(scope["path"])(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body.

        Raises:
            ApiError: it is too large, too slow, or framed in two ways.
        """
        names = [name for name, _ in scope["headers"]]
        if b"transfer-encoding" in names and b"content-length" in names:
            raise ApiError(400, "Content-Length and Transfer-Encoding exclude each other.")
        if any(
            name == b"content-encoding" and value.lower() != b"identity"
            for name, value in scope["headers"]
        ):
            raise ApiError(415, "Content-Encoding is not supported. Send the body as it is.")
        most = self._config.max_body_bytes
        for name, value in scope["headers"]:
            if name != b"content-length":
                continue
            # uvicorn has checked it; another server of the app may not.
            if not value.isdigit() or len(value) > _MOST_DIGITS:
                raise ApiError(400, "Content-Length should be a number of bytes.")
            if int(value) > most:
                raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._config.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Left
                    body += message.get("body", b"")
                    if len(body) > most:
                        raise self._too_large()
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise ApiError(
                408,
                f"The body did not arrive within {self._config.body_seconds:g} s.",
                code="body_timeout",
                headers={"Connection": "close"},
            ) from None

    def _too_large(self) -> ApiError:
        return ApiError(
            413,
            f"The body has more than {self._config.max_body_bytes:,} bytes.",
            code="body_too_large",
            headers={"Connection": "close"},
        )

    async def _until_left(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Run the app, but cancel it when the client disconnects."""
        work = asyncio.current_task()
        assert work is not None
        gone = asyncio.Event()
        unread = [body]

        async def replay() -> Message:
            if unread:
                return {"type": "http.request", "body": unread.pop(), "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()
            work.cancel()

        watching = asyncio.ensure_future(watch())
        try:
            await self._app(scope, replay, send)
        except asyncio.CancelledError:
            # Cancelled by the watch alone, the task goes on; a server that ends cancels it, too.
            if not gone.is_set() or work.uncancel():
                raise
            raise _Left from None
        finally:
            watching.cancel()


class _Left(Exception):
    """The client left before its answer was complete."""
