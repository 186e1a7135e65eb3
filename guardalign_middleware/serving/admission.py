"""How many requests may be at work, and the end of taking new ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.serving.errors import overloaded, unavailable


class Admission:
    """Counts the requests at work; all of it runs in the event loop's thread.

    Args:
        config: how many there may be, and when refused clients should ask again.
    """

    def __init__(self, config: ServeConfig) -> None:
        self._config = config
        self.at_work = 0
        self.draining = False
        self.broken = ""

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a place while a request is at work.

        Raises:
            ApiError: 503 while the server closes or is broken, 429 if all places are taken.
        """
        config = self._config
        if reason := self.closed_because:
            raise unavailable(reason, config.retry_after_seconds)
        if self.at_work >= config.max_requests:
            raise overloaded(
                f"{self.at_work} requests are at work, which is the limit. Ask again later.",
                config.retry_after_seconds,
            )
        self.at_work += 1
        try:
            yield
        finally:
            self.at_work -= 1

    @property
    def closed_because(self) -> str:
        """Why no request is taken; empty if they are."""
        return "The server is closing." if self.draining else self.broken

    def drain(self) -> None:
        """Take no more requests; those at work go on."""
        self.draining = True

    def give_up(self, reason: str) -> None:
        """Take no more requests, because none can be answered any more."""
        self.broken = reason
