"""The `Runner` protocol, and the token stream of its answers. Needs no torch."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Protocol, Self, Unpack

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import GuardError
from guardalign_middleware.generation.options import GenerationOptions
from guardalign_middleware.replies import Generated
from guardalign_middleware.types import Message

Emit = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Ticket:
    """A running generation: the future of its answer, and a way to stop it.

    Dropping the last reference also stops it. The future itself cannot be cancelled; `cancel` ends
    the answer at its next token.
    """

    future: Future[Generated]
    cancel: Callable[[], None]

    def __post_init__(self) -> None:
        weakref.finalize(self, self.cancel)

    async def ended(self) -> None:
        """Wait in an event loop until the work has ended, with an answer or an error.

        Cancelling a waiting task must not cancel the future, because the worker still sets it. So
        this is not `asyncio.wrap_future(self.future)`.
        """
        if not self.future.done():
            bell: Future[None] = Future()
            self.future.add_done_callback(lambda _: _ring(bell))
            await asyncio.wrap_future(bell)


class TokenStream(Iterator[str], AsyncIterator[str]):
    """Pieces of an answer as it is generated; joined, they equal `result.text`.

    One reader iterates over it, in a thread or in an event loop. The work runs in its own thread.
    Leaving a `with` block, `close()` and dropping the last reference cancel it. The iteration
    raises errors of the work.

    Args:
        produce: does the work: calls `emit(text)` for every piece, and returns the answer, soon
            after the event is set if it is set.
    """

    def __init__(self, produce: Callable[[Emit, threading.Event], Generated]) -> None:
        cancel = threading.Event()
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="guardalign-stream")

        def start(emit: Emit) -> Ticket:
            future = executor.submit(copy_context().run, produce, emit, cancel)
            return Ticket(future, cancel.set)

        self._begin(start)
        executor.shutdown(wait=False)

    @classmethod
    def of(cls, start: Callable[[Emit], Ticket]) -> Self:
        """A stream of work that runs elsewhere, in a thread shared with other work.

        Args:
            start: starts the work, which calls `emit(text)` for every piece.
        """
        stream = cls.__new__(cls)
        stream._begin(start)
        return stream

    def _begin(self, start: Callable[[Emit], Ticket]) -> None:
        # The work must not refer to the stream, or a dropped stream would never be collected.
        self._inbox = inbox = _Inbox()
        self.ticket = start(inbox.put)
        self.ticket.future.add_done_callback(lambda _: inbox.put(None))
        self._ended = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if self._ended:
            raise StopIteration
        piece = self._inbox.get()
        if piece is not None:
            return piece
        self._ended = True
        self.ticket.future.result()
        raise StopIteration

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        if self._ended:
            raise StopAsyncIteration
        piece = await self._inbox.aget()
        if piece is not None:
            return piece
        self._ended = True
        self.ticket.future.result()
        raise StopAsyncIteration

    @property
    def result(self) -> Generated:
        """The whole answer, once the stream is exhausted or closed.

        Raises:
            GuardError: the stream has not ended yet.
        """
        if not self._ended:
            raise GuardError(
                "The stream has not ended.",
                stage="generation",
                remedy="Iterate to the end, or call close(), before reading result.",
            )
        return self.ticket.future.result()

    async def aresult(self) -> Generated:
        """Wait for the whole answer; the pieces need not be read."""
        await self.ticket.ended()
        self._ended = True
        return self.result

    def cancel(self) -> None:
        """Ask the work to end and do not wait; pieces that have arrived can still be read."""
        self.ticket.cancel()

    def close(self) -> None:
        """Cancel the work and wait until it ends, which takes a token or two at most."""
        self.cancel()
        # Not raised here: closing is for leaving early, and `result` raises it.
        self.ticket.future.exception()
        self._ended = True

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        self.cancel()
        await self.ticket.ended()
        self._ended = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Inbox:
    """The queue to the one reader of a stream, which waits in a thread or in an event loop."""

    def __init__(self) -> None:
        self._pieces: SimpleQueue[str | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._bell: Future[None] | None = None

    def put(self, piece: str | None) -> None:
        with self._lock:
            self._pieces.put(piece)
            bell, self._bell = self._bell, None
        if bell is not None:
            _ring(bell)

    def get(self) -> str | None:
        return self._pieces.get()

    async def aget(self) -> str | None:
        while True:
            with self._lock:
                if not self._pieces.empty():
                    return self._pieces.get()
                bell: Future[None] = Future()
                self._bell = bell
            await asyncio.wrap_future(bell)


def _ring(bell: Future[None]) -> None:
    """Wake the waiting reader, unless its task was cancelled meanwhile."""
    if bell.set_running_or_notify_cancel():
        bell.set_result(None)


class Runner(Protocol):
    """Answers prompts: a local calibrated model, a remote one, or a test double."""

    @property
    def name(self) -> str:
        """Name of the model, for replies and logs."""

    @property
    def config(self) -> RunnerConfig:
        """Defaults of every call."""

    def generate(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> Generated:
        """Answer one conversation."""

    def generate_batch(
        self,
        rows: Sequence[Sequence[Message]],
        *,
        prefix: bool | Sequence[bool] = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> list[Generated]:
        """Answer several conversations; each answer is the one it would get alone."""

    def stream(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> TokenStream:
        """Answer one conversation piece by piece."""
