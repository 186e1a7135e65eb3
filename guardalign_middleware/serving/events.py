"""Server-sent events, whose source is closed as soon as the client leaves."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from fastapi import Response
from starlette.types import Receive, Scope, Send


class EventStream(Response):
    """A response of events.

    Starlette's own streaming response leaves its source open when it is cancelled while it sends;
    the model would then go on.

    Args:
        events: encoded events.
        headers: more headers.
        status: of HTTP.
    """

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncGenerator[bytes, None], headers: Mapping[str, str], status: int = 200
    ) -> None:
        self._events = events
        # Proxies would otherwise collect the pieces of an answer.
        always = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(status_code=status, headers={**headers, **always})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events as they come."""
        async with aclosing(self._events) as events:
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def event(data: Mapping[str, Any], name: str | None = None) -> bytes:
    """One event with JSON data, and a name where the protocol has names."""
    line = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    head = "" if name is None else f"event: {name}\n"
    return f"{head}data: {line}\n\n".encode()


# Each event of the stream, as tools that read the description see it.
_EVENT = {
    "type": "object",
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
    "required": ["data"],
}

DONE = b"data: [DONE]\n\n"
"""The end of a stream in OpenAI's form; without it, a stream was cut."""

STREAMED: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": _EVENT}}}
}
"""What the OpenAPI says of an answer that may be streamed."""
