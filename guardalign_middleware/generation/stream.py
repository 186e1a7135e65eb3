"""The `Runner` contract and the token stream every runner answers with. Needs no torch."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    """Work under way: its answer to come, and how to stop it soon."""

    future: Future[Generated]
    cancel: Callable[[], None]


class TokenStream(Iterator[str]):
    """Pieces of an answer while it is made; joined they equal `result.text`.

    The work runs in a thread of its own. Leaving a `with` block, `close()` and dropping the last
    reference cancel it; an error of the work is raised by the iteration.

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
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        # The work must not hold the stream, or a dropped stream would never be collected.
        put = self._queue.put
        ticket = start(put)
        self._future = ticket.future
        self._cancel = ticket.cancel
        self._future.add_done_callback(lambda _: put(None))
        self._ended = False
        weakref.finalize(self, self._cancel)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if self._ended:
            raise StopIteration
        piece = self._queue.get()
        if piece is not None:
            return piece
        self._ended = True
        self._future.result()
        raise StopIteration

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
        return self._future.result()

    def cancel(self) -> None:
        """Let the work end soon, without waiting for it; what came so far can still be read."""
        self._cancel()

    def close(self) -> None:
        """Cancel what is still running and wait for its end, which is at most a token or two."""
        self._cancel()
        # An error of the work is kept for `result`; closing is for leaving early.
        self._future.exception()
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
