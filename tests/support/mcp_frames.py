"""Messages of MCP through a guard, by themselves and through a proxy."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from guardalign_middleware.intake.hidden_images import hidden_images
from guardalign_middleware.mcp import MessageGuard, StdioProxy
from guardalign_middleware.mcp.guard import Passed, Sender
from guardalign_middleware.testing import open_png
from guardalign_middleware.types import CanonicalImage


def line(message: Any) -> bytes:
    """A message as a program writes it."""
    return (json.dumps(message) + "\n").encode()


def passed(guard: MessageGuard, raw: bytes, sender: Sender = "server") -> Passed:
    """What goes on of a frame."""

    async def go() -> Passed:
        return await guard.clean(await guard.look(raw, sender))

    return asyncio.run(go())


def pictures_in(value: Any) -> Iterator[CanonicalImage]:
    """Every complete picture in a JSON value, also in base64 of a text, and in a list of bytes."""
    if isinstance(value, str):
        for hidden in hidden_images(value):
            yield open_png(hidden.data)
        try:
            text = base64.b64decode(value, validate=True).decode()
        except ValueError:
            return
        yield from (open_png(each.data) for each in hidden_images(text))
    elif isinstance(value, dict):
        for item in value.values():
            yield from pictures_in(item)
    elif isinstance(value, list):
        if len(value) > 8 and all(isinstance(item, int) and 0 <= item < 256 for item in value):
            yield open_png(bytes(value))
        for item in value:
            yield from pictures_in(item)


class Session:
    """A client at the ends of a proxy's pipes.

    Attributes:
        proxy: its exit status.
    """

    def __init__(self, source: int, sink: int, proxy: asyncio.Task[int]) -> None:
        self._source = source
        self._sink = sink
        self.proxy = proxy
        self._reader = asyncio.StreamReader(limit=2**27)

    async def open(self) -> None:
        protocol = asyncio.StreamReaderProtocol(self._reader)
        pipe = os.fdopen(self._sink, "rb", buffering=0)
        self._pipe, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)

    async def say(self, message: Any) -> None:
        """Send a message, or bytes as they are."""
        raw = message if isinstance(message, bytes) else line(message)
        await asyncio.to_thread(_write_all, self._source, raw)

    async def hear(self) -> bytes:
        """The next line; empty at the end."""
        return await asyncio.wait_for(self._reader.readline(), 60)

    def hang_up(self) -> None:
        """Close the client's output, as one does that is done."""
        if self._source >= 0:
            os.close(self._source)
            self._source = -1

    def go_away(self) -> None:
        """Read nothing any more."""
        self._pipe.close()


@asynccontextmanager
async def stdio_session(guard: MessageGuard, command: Sequence[str]) -> AsyncIterator[Session]:
    """A proxy in this process, in front of a command."""
    source, written = os.pipe()
    read, sink = os.pipe()
    proxy = asyncio.ensure_future(StdioProxy(guard, source, sink).run(command))
    proxy.add_done_callback(lambda _: os.close(sink))
    session = Session(written, read, proxy)
    await session.open()
    try:
        yield session
    finally:
        session.hang_up()
        try:
            await asyncio.wait_for(asyncio.shield(proxy), 60)
        finally:
            session.go_away()
            os.close(source)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
