"""A guarded answer as it is generated. Needs no torch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Self

from guardalign_middleware.faults import typed_faults
from guardalign_middleware.generation import TokenStream
from guardalign_middleware.replies import GuardedChunk, GuardedReply


class GuardedStream(Iterator[GuardedChunk], AsyncIterator[GuardedChunk]):
    """Yields an answer piece by piece; the last chunk carries the whole reply.

    Leaving a `with` block, calling `close()` or dropping the last reference stops the generation.

    Args:
        tokens: the runner's stream; None when the answer is already known.
        reply: returns the whole reply once `tokens` has ended.
    """

    def __init__(self, tokens: TokenStream | None, reply: Callable[[], GuardedReply]) -> None:
        self._tokens = tokens
        self._reply = reply
        self._ended = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> GuardedChunk:
        if self._ended:
            raise StopIteration
        with typed_faults("generation"):
            piece = None if self._tokens is None else next(self._tokens, None)
        return self._chunk(piece)

    @property
    def reply(self) -> GuardedReply:
        """The whole reply, once the stream is exhausted or closed.

        Raises:
            GuardError: the stream has not ended yet, or the generation failed.
        """
        with typed_faults("generation"):
            return self._reply()

    def finish(self) -> GuardedReply:
        """Run to the end and return the whole reply."""
        for _ in self:
            pass
        return self.reply

    def close(self) -> None:
        """Stop the generation; `reply` then holds the text generated so far."""
        self._ended = True
        if self._tokens is not None:
            self._tokens.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> GuardedChunk:
        if self._ended:
            raise StopAsyncIteration
        with typed_faults("generation"):
            piece = None if self._tokens is None else await anext(self._tokens, None)
        return self._chunk(piece)

    async def afinish(self) -> GuardedReply:
        """`finish` without blocking the event loop; cancelling the task stops the generation."""
        try:
            if self._tokens is not None:
                with typed_faults("generation"):
                    await self._tokens.aresult()
            return self.reply
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        self._ended = True
        if self._tokens is not None:
            await self._tokens.aclose()

    def _chunk(self, piece: str | None) -> GuardedChunk:
        if piece is not None:
            return GuardedChunk(piece)
        self._ended = True
        reply = self.reply
        return GuardedChunk(reply.text if self._tokens is None else "", reply)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
