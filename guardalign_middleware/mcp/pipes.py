"""Standard streams in an event loop: lines of any length, read and written by threads.

A file, a terminal and a pipe are read alike, and a reader that blocks never keeps the process from
ending.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from queue import SimpleQueue

from guardalign_middleware.errors import MessageError

_CHUNK = 65_536
_AHEAD = 4
LONGEST_LINE = 256 * 2**20


class LineReader:
    """The lines of a file descriptor, with their ends; only as many as are asked for.

    Args:
        descriptor: is read.
        owned: whether it is closed after its end.
        longest: of one line, in bytes.
    """

    def __init__(
        self, descriptor: int, *, owned: bool = False, longest: int = LONGEST_LINE
    ) -> None:
        self._descriptor = descriptor
        self._owned = owned
        self._longest = longest
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self._free = threading.Semaphore(_AHEAD)
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """End the lines after those that were read, although the descriptor has not ended."""
        self._chunks.put_nowait(b"")

    async def lines(self) -> AsyncIterator[bytes]:
        """Each line; the last one may lack its end.

        Raises:
            MessageError: a line is longer than the memory is meant for.
        """
        threading.Thread(target=self._read, daemon=True, name="mcp-reader").start()
        parts: list[bytes] = []
        size = 0
        while chunk := await self._chunks.get():
            self._free.release()
            *ended, rest = chunk.split(b"\n")
            for line in ended:
                yield b"".join([*parts, line, b"\n"])
                parts, size = [], 0
            if rest:
                parts.append(rest)
                size += len(rest)
            if size > self._longest:
                raise MessageError(
                    f"A message has more than {self._longest:,} bytes.",
                    remedy="Let the server send large results as links.",
                )
        if parts:
            yield b"".join(parts)

    def _read(self) -> None:
        chunk = b"."
        while chunk:
            self._free.acquire()
            try:
                chunk = os.read(self._descriptor, _CHUNK)
            except OSError:
                chunk = b""
            try:
                self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)
            except RuntimeError:  # the loop has ended first
                break
        if self._owned:
            os.close(self._descriptor)


class Writer:
    """Writes to a file descriptor, one piece after the other.

    Args:
        descriptor: stays open.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._waiting: SimpleQueue[tuple[bytes, asyncio.Future[None]] | None] = SimpleQueue()
        threading.Thread(target=self._write, daemon=True, name="mcp-writer").start()

    async def write(self, data: bytes) -> None:
        """Return when all is written.

        Raises:
            OSError: the reader has gone.
        """
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiting.put((data, done))
        await done

    def close(self) -> None:
        """End the thread after what is waiting."""
        self._waiting.put(None)

    def _write(self) -> None:
        while (item := self._waiting.get()) is not None:
            data, done = item
            error: OSError | None = None
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError as failed:
                error = failed
            with suppress(RuntimeError):  # the loop may be gone
                self._loop.call_soon_threadsafe(_settle, done, error)


def _settle(done: asyncio.Future[None], error: OSError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
