"""A bounded queue that groups waiting requests into batches; no thread, clock or model.

Requests of one group can share a forward pass. The oldest request decides which group is next, so
no request starves. A batch of its group is due, in order of arrival, as soon as it is full or the
oldest request has waited `max_wait`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from guardalign_middleware.errors import Overloaded

T = TypeVar("T")


@dataclass(frozen=True)
class BatchPolicy:
    """How batches are made; a runner takes these values from its config (`RunnerConfig`).

    Attributes:
        max_batch: maximum number of requests in one batch.
        max_wait: how long the oldest request waits for others, in seconds.
        max_queue: maximum number of waiting requests; more are refused.
    """

    max_batch: int = 16
    max_wait: float = 0.0
    max_queue: int = 256


@dataclass(frozen=True)
class _Waiting(Generic[T]):
    item: T
    group: Hashable
    since: float


class BatchQueue(Generic[T]):
    """Requests in order of arrival. Not thread-safe.

    Args:
        policy: sizes and times.
    """

    def __init__(self, policy: BatchPolicy) -> None:
        self.policy = policy
        self._waiting: list[_Waiting[T]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, items: Sequence[tuple[T, Hashable]], now: float) -> None:
        """Append requests with their groups: all of them or none.

        Raises:
            Overloaded: there is no room for all of them.
        """
        if len(self._waiting) + len(items) > self.policy.max_queue:
            raise Overloaded(
                f"{len(self._waiting)} requests are waiting; the limit is {self.policy.max_queue}.",
                stage="generation",
                remedy="Ask again later, or raise the runner's max_queue.",
            )
        self._waiting += [_Waiting(item, group, now) for item, group in items]

    def remove(self, item: T) -> bool:
        """Remove a request; returns False if it is not waiting any more."""
        for index, waiting in enumerate(self._waiting):
            if waiting.item is item:
                del self._waiting[index]
                return True
        return False

    def ready_in(self, now: float) -> float | None:
        """Seconds until the next batch is due, 0 if it is due now; None for an empty queue."""
        if not self._waiting:
            return None
        oldest = self._waiting[0]
        company = sum(waiting.group == oldest.group for waiting in self._waiting)
        if company >= self.policy.max_batch:
            return 0.0
        return max(0.0, oldest.since + self.policy.max_wait - now)

    def take(self) -> list[T]:
        """Remove and return the next batch, due or not; empty for an empty queue."""
        if not self._waiting:
            return []
        group = self._waiting[0].group
        chosen = [waiting for waiting in self._waiting if waiting.group == group]
        chosen = chosen[: self.policy.max_batch]
        taken = {id(waiting) for waiting in chosen}
        self._waiting = [waiting for waiting in self._waiting if id(waiting) not in taken]
        return [waiting.item for waiting in chosen]
