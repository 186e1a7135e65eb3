"""The `Runner` contract and the token stream every runner answers with. Needs no torch."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Protocol, Self

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import GuardError
from guardalign_middleware.types import Generated, Message

Emit = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Ticket:
    """Work under way: its answer to come, and how to stop it soon.

    Dropping the last reference stops it as well.
    """

    future: Future[Generated]
    cancel: Callable[[], None]

    def __post_init__(self) -> None:
        weakref.finalize(self, self.cancel)

    async def ended(self) -> None:
        """Wait in an event loop for the end of the work, good or bad.

        A task that is cancelled while it waits leaves the future alone: whoever works on it still
        has to be able to set it. That is why this is not `asyncio.wrap_future(self.future)`.
        """
        if not self.future.done():
            bell: Future[None] = Future()
            self.future.add_done_callback(lambda _: _ring(bell))
            await asyncio.wrap_future(bell)


class TokenStream(Iterator[str], AsyncIterator[str]):
    """Pieces of an answer while it is made; joined they equal `result.text`.

    It is read in a thread or in an event loop, by one reader. The work runs in a thread of its own.
    Leaving a `with` block, `close()` and dropping the last reference cancel it; an error of the
    work is raised by the iteration.

    Args:
        produce: does the work: calls `emit(text)` for every piece, returns soon after the event is
            set, and returns what was generated.
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
        """A stream of work that runs elsewhere, in a thread that it shares with other work.

        Args:
            start: begins the work, which calls `emit(text)` for every piece.
        """
        stream = cls.__new__(cls)
        stream._begin(start)
        return stream

    def _begin(self, start: Callable[[Emit], Ticket]) -> None:
        # The work must not hold the stream, or a dropped stream would never be collected.
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
        """The whole answer, once it is there; the pieces need not be read."""
        await self.ticket.ended()
        self._ended = True
        return self.result

    def cancel(self) -> None:
        """Let the work end soon, without waiting for it; what came so far can still be read."""
        self.ticket.cancel()

    def close(self) -> None:
        """Cancel what is still running and wait for its end, which is at most a token or two."""
        self.cancel()
        # An error of the work is kept for `result`; closing is for leaving early.
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
    """Pieces on their way to the one reader of a stream, who waits in a thread or in a loop."""

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
    """Wake who waits, unless its task was cancelled meanwhile."""
    if bell.set_running_or_notify_cancel():
        bell.set_result(None)


class Runner(Protocol):
    """What answers a prompt: a local calibrated model, a remote one, or a test double."""

    @property
    def name(self) -> str:
        """Name of the model, for replies and logs."""

    @property
    def config(self) -> RunnerConfig:
        """How it generates unless a call says otherwise."""

    def generate(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool = True,
        calibrate: bool = True,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> Generated:
        """Answer one conversation."""

    def generate_batch(
        self,
        rows: Sequence[Sequence[Message]],
        *,
        prefix: bool | Sequence[bool] = True,
        calibrate: bool = True,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> list[Generated]:
        """Answer several conversations; each answer is the one it would get alone."""

    def stream(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool = True,
        calibrate: bool = True,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> TokenStream:
        """Answer one conversation piece by piece."""
