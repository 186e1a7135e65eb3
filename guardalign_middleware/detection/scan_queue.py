"""Whose turn it is to scan: first come, first served, and together where the device gains by it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from guardalign_middleware.cache import BoundedCache
from guardalign_middleware.detection.shared_passes import SharedPasses
from guardalign_middleware.errors import Overloaded
from guardalign_middleware.processes import OneProcess
from guardalign_middleware.scan_threads import current_caller

Source = TypeVar("Source")
Entry = TypeVar("Entry")
Result = TypeVar("Result")

_Wanted = tuple[BoundedCache[Any], str]
"""A key, and the cache that it belongs to."""
MOST_WAITING = 1024


class _Ticket:
    """A caller in the queue: what it still needs, and what others found for it meanwhile."""

    def __init__(self, missing: set[_Wanted], crops: int | None) -> None:
        self.thread = threading.get_ident()
        self.missing = missing
        self.crops = crops
        self.passes: SharedPasses | None = None
        self.place = 0
        self.found: dict[_Wanted, Any] = {}
        self.woken = threading.Event()

    def run(self, work: Callable[[], Result]) -> Result:
        """Do the work of this turn, together with the callers that share it."""
        return work() if self.passes is None else self.passes.run(self.place, work)

    @property
    def keys(self) -> set[str]:
        """What it needs, whichever cache would hold it."""
        return {key for _, key in self.missing}


class ScanQueue:
    """Lets concurrent callers scan in order of arrival.

    Scans that compete for one device all end late, while in a queue the first ends after its own
    time. A waiting caller gets a result as soon as another caller has computed it. An exception
    reaches only the caller whose scan raised it.

    Where a pass of the encoder takes about as long for many crops as for few, the callers that
    wait when a turn begins share it: in order, as many as fit into one pass. Each scans in its own
    thread, and their crops are encoded together; see `SharedPasses`. Equal pictures are still
    scanned once.

    A scan may scan again in the same thread, as cleaning does: that is part of its turn.

    Args:
        shared_crops: most crops of all callers of a turn; with 1 each caller has its own turn.
        max_waiting: most callers that wait; more are refused.
    """

    def __init__(self, shared_crops: int = 1, max_waiting: int = MOST_WAITING) -> None:
        self._process = OneProcess()
        self._lock = threading.Lock()
        self._shared_crops = shared_crops
        self._max_waiting = max_waiting
        self._waiting: deque[_Ticket] = deque()
        self._turn: list[_Ticket] = []

    @property
    def shares(self) -> bool:
        """Whether callers may share a turn, so that `crops` matters."""
        return self._shared_crops > 1

    def __len__(self) -> int:
        """How many callers wait for their turn."""
        with self._lock:
            return len(self._waiting)

    def check_process(self) -> None:
        """Refuse a forked process, whose queue would wait for threads that it does not have.

        Raises:
            GuardError: stage `process`; another process used this queue first.
        """
        self._process.check()

    def run(self, work: Callable[[], Result]) -> Result:
        """Do something in a turn of its own; errors as for `get_many`, and those of `work`."""
        nothing: BoundedCache[Result] = BoundedCache(0)
        return self.get_many({"": None}, lambda _: [work()], nothing)[""]

    def get_many(
        self,
        sources: Mapping[str, Source],
        scan: Callable[[list[Source]], list[Entry]],
        cache: BoundedCache[Entry],
        crops: int | None = None,
    ) -> dict[str, Entry]:
        """An entry for each key: cached, computed by another caller, or scanned in one turn.

        Args:
            sources: key → the source to scan.
            scan: maps sources to one entry each, in order.
            cache: holds the entries; one that its `keep` rejects goes to no other caller.
            crops: how many `scan` encodes at a time; None = it needs a turn of its own.

        Raises:
            Overloaded: too many callers wait.
            GuardError: stage `process`; another process used this queue first.
            GuardAlignError: anything `scan` raises, in this thread.
            asyncio.CancelledError: the caller's task was cancelled before its turn.
        """
        self.check_process()
        caller = current_caller()
        caller.check()
        ticket = _Ticket({(cache, key) for key in sources}, crops)
        try:
            if self._must_wait(ticket):
                caller.waits(lambda: self._leave(ticket))
                caller.check()
                ticket.woken.wait()
                caller.waits(None)
                caller.check()
            rest = {
                key: source for key, source in sources.items() if (cache, key) in ticket.missing
            }
            if rest:
                found = ticket.run(partial(scan, list(rest.values())))
                entries = dict(zip(rest, found, strict=True))
                ticket.found.update({(cache, key): entry for key, entry in entries.items()})
                self._publish(cache, entries)
        finally:
            self._leave(ticket)
        return {key: ticket.found[cache, key] for key in sources}

    def _must_wait(self, ticket: _Ticket) -> bool:
        """Look up what is cached, and queue for the rest unless this thread has the turn."""
        with self._lock:
            for cache, key in tuple(ticket.missing):
                entry = cache.get(key)
                if entry is not None:
                    ticket.found[cache, key] = entry
                    ticket.missing.discard((cache, key))
            if not ticket.missing or any(each.thread == ticket.thread for each in self._turn):
                return False
            if self._turn and len(self._waiting) >= self._max_waiting:
                raise Overloaded(
                    f"{len(self._waiting)} callers wait for their scans, which is the limit.",
                    stage="detection",
                    remedy="Ask again later, or raise detection.max_queue.",
                )
            self._waiting.append(ticket)
            if not self._turn:
                self._begin()
            return True

    def _begin(self) -> None:
        """Give the turn to the caller that has waited longest, and to those that can share it."""
        first = self._waiting.popleft()
        self._turn, keys, taken = [first], first.keys, first.crops
        for ticket in tuple(self._waiting) if self.shares else ():
            if taken is None or ticket.crops is None:
                break
            if keys & ticket.keys:
                continue  # it waits for a picture that is scanned in this turn
            if taken + ticket.crops > self._shared_crops:
                break
            self._waiting.remove(ticket)
            self._turn.append(ticket)
            keys, taken = keys | ticket.keys, taken + ticket.crops
        passes = SharedPasses(len(self._turn)) if len(self._turn) > 1 else None
        for place, ticket in enumerate(self._turn):
            ticket.passes, ticket.place = passes, place
            ticket.woken.set()

    def _publish(self, cache: BoundedCache[Entry], entries: Mapping[str, Entry]) -> None:
        """Keep entries, and give them to the callers that wait for them."""
        with self._lock:
            for key, entry in entries.items():
                if not cache.keeps(entry):
                    continue
                cache.put(key, entry)
                for ticket in tuple(self._waiting):
                    if (cache, key) in ticket.missing:
                        ticket.missing.discard((cache, key))
                        ticket.found[cache, key] = entry
                        if not ticket.missing:
                            self._waiting.remove(ticket)
                            ticket.woken.set()

    def _leave(self, ticket: _Ticket) -> None:
        """End a turn, or give it up before it has come."""
        with self._lock:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            if ticket in self._turn:
                self._turn.remove(ticket)
                if ticket.passes is not None:
                    ticket.passes.leave()
                if not self._turn and self._waiting:
                    self._begin()
        ticket.woken.set()
