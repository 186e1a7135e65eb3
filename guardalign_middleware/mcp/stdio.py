"""The proxy between a client and a server on standard streams.

Messages without pictures go on at once, in order and to the byte. A message with pictures is
cleaned beside them, so that a ping or a progress never waits for a scan. What is cancelled
meanwhile is cleaned no further.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from guardalign_middleware.mcp.child import Child
from guardalign_middleware.mcp.guard import MessageGuard, Passed, Seen
from guardalign_middleware.mcp.messages import cancelled_id, id_of, kind_of
from guardalign_middleware.mcp.pipes import LineReader, Writer

Send = Callable[[bytes], Awaitable[None]]

_AT_ONCE = 32
_DRAIN_SECONDS = 2.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StdioProxy:
    """One client, one server, until one of them ends.

    Args:
        guard: cleans what the server sends and what the client answers.
        source: file descriptor of the client's messages.
        sink: file descriptor for the server's messages.
    """

    def __init__(self, guard: MessageGuard, source: int = 0, sink: int = 1) -> None:
        self._guard = guard
        self._source = source
        self._sink = sink
        self._ending: asyncio.Task[None] | None = None
        self._signalled = False
        # What is being cleaned: responses for the client, and the server's requests to it.
        self._responses: dict[str, asyncio.Task[None]] = {}
        self._requests: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, command: Sequence[str]) -> int:
        """Start the server and pass messages until it ends; its exit status.

        Raises:
            ConfigError: the server cannot be started, or the guard cannot be loaded.
            GuardAlignError: the guard in another process cannot be reached.
            MessageError: a message is too long to be looked at.
        """
        self._child = await Child.start(command)
        self._client = LineReader(self._source)
        self._writer = Writer(self._sink)
        self._slots = asyncio.Semaphore(_AT_ONCE)
        loop = asyncio.get_running_loop()
        self._failed: asyncio.Future[None] = loop.create_future()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._end, number)
        work = [
            asyncio.ensure_future(asyncio.to_thread(self._guard.load)),
            asyncio.ensure_future(self._from_client()),
            asyncio.ensure_future(self._from_server()),
        ]
        try:
            return await self._until_end(*work)
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
            self._failed.cancel()
            for task in (*work, *self._tasks, *filter(None, (self._ending,))):
                task.cancel()
            await self._child.end(signal.SIGTERM)
            self._writer.close()

    async def _until_end(self, *work: asyncio.Future[None]) -> int:
        """Wait for the server; an error of anything else ends it."""
        _, from_client, from_server = work
        ended = asyncio.ensure_future(self._child.wait())
        waiting: set[asyncio.Future[Any]] = {*work, self._failed, ended}
        while not ended.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if from_client.done() or from_server.done():
                self._end(None)
        # A program that the server has left behind may hold its output open.
        asyncio.get_running_loop().call_later(_DRAIN_SECONDS, self._child.output.stop)
        rest: set[asyncio.Future[None]] = {from_server}
        while rest and not self._signalled:
            done, _ = await asyncio.wait({*rest, self._failed}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {task for task in done if task.cancelled()}:
                task.result()
            rest = {task for task in (from_server, *self._tasks) if not task.done()}
        return ended.result()

    def _end(self, number: int | None) -> None:
        """Let the server end; a signal takes the place of waiting."""
        if number is None and self._ending is not None:
            return
        if self._ending is not None:
            self._ending.cancel()
        self._signalled |= number is not None
        self._ending = asyncio.ensure_future(self._child.end(number))

    async def _from_client(self) -> None:
        async for line in self._client.lines():
            seen = await self._guard.look(line, "client")
            for message in seen.frame.messages:
                cancelled = cancelled_id(message)
                if cancelled is not None and cancelled in self._responses:
                    self._responses[cancelled].cancel()
            if seen.pictures:
                await self._apart(self._clean(seen, self._to_server, self._to_client))
            else:
                # The server reads its client's words as they are.
                await self._to_server(line)
        self._child.close_input()

    async def _from_server(self) -> None:
        async for line in self._child.output.lines():
            seen = await self._guard.look(line, "server")
            if not seen.pictures:
                await self._deliver(
                    await self._guard.clean(seen), seen, self._to_client, self._to_server
                )
                continue
            task = await self._apart(self._clean(seen, self._to_client, self._to_server))
            self._remember(seen, task)

    async def _apart(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run beside what goes on; a sender of many pictures waits."""
        await self._slots.acquire()
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._slots.release()
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._failed.done():
            self._failed.set_exception(error)

    def _remember(self, seen: Seen, task: asyncio.Task[None]) -> None:
        """So that a cancellation finds it; a batch is cleaned as a whole."""
        if len(seen.frame.messages) != 1:
            return
        (message,) = seen.frame.messages
        kinds = {"response": self._responses, "request": self._requests}
        known = kinds.get(kind_of(message))
        if known is not None:
            key = id_of(message)
            known[key] = task
            task.add_done_callback(lambda _: known.pop(key, None))

    async def _clean(self, seen: Seen, to_receiver: Send, to_sender: Send) -> None:
        await self._deliver(await self._guard.clean(seen), seen, to_receiver, to_sender)

    async def _deliver(
        self, passed: Passed, seen: Seen, to_receiver: Send, to_sender: Send
    ) -> None:
        if len(seen.frame.messages) == 1:
            cancelled = cancelled_id(seen.frame.messages[0])
            if cancelled is not None and cancelled in self._requests:
                # The client has not heard of a request that is still being cleaned.
                self._requests[cancelled].cancel()
                return
        if passed.forward is not None:
            await to_receiver(passed.forward)
        for reply in passed.replies:
            await to_sender(reply + b"\n")

    async def _to_client(self, data: bytes) -> None:
        try:
            await self._writer.write(data)
        except OSError:  # the client has gone
            self._end(signal.SIGTERM)

    async def _to_server(self, data: bytes) -> None:
        await self._child.write(data)
