"""Answers sent before a body has arrived: the rest is read, so that the client sees them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from guardalign_middleware.config import ServeConfig


class Lingering:
    """Reads what is left of a body whose request is answered, and only then ends the answer.

    A connection that is closed with unread bytes is reset, and many clients that are still sending
    report that instead of the refusal they were sent. At most twice as much is read as a body may
    hold, in the time that it may take; nothing of it is kept.

    Args:
        app: answers.
        config: the limits.
    """

    def __init__(self, app: ASGIApp, config: ServeConfig) -> None:
        self._app = app
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or _asks_first(scope):
            return await self._app(scope, receive, send)
        unread, size = True, 0
        until = asyncio.get_running_loop().time() + self._config.body_seconds

        async def noted() -> Message:
            nonlocal unread, size
            message = await receive()
            unread = message.get("more_body", False)
            size += len(message.get("body", b""))
            return message

        async def read_on() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    while unread and size < 2 * self._config.max_body_bytes:
                        await noted()

        async def lingering(message: Message) -> None:
            ends = message["type"] == "http.response.body" and not message.get("more_body", False)
            if ends and unread:
                await send({**message, "more_body": True})
                await read_on()
                message = {"type": "http.response.body"}
            await send(message)

        await self._app(scope, noted, lingering)


def _asks_first(scope: Scope) -> bool:
    """Whether the client sends its body only when it is asked for it."""
    return any(name == b"expect" for name, _ in scope["headers"])
