"""Whose turn it is to scan: one scan at a time, first come, first served."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from guardalign_middleware.cache import BoundedCache
from guardalign_middleware.processes import OneProcess
from guardalign_middleware.scan_threads import current_caller

Source = TypeVar("Source")
Entry = TypeVar("Entry")
Result = TypeVar("Result")

_Wanted = tuple[BoundedCache[Any], str]
"""A key, and the cache that it belongs to."""


class _Ticket:
    """A caller in the queue: what it still needs, and what others found for it meanwhile."""

    def __init__(self, missing: set[_Wanted]) -> None:
        self.thread = threading.get_ident()
        self.missing = missing
        self.found: dict[_Wanted, Any] = {}
        self.woken = threading.Event()


class ScanQueue:
    """Lets the scans of concurrent callers happen one after another, in order of arrival.

    Scans that compete for one device all end late, while in a queue the first ends after its own
    time. A waiting caller gets a result as soon as another caller has computed it. An exception
    reaches only the caller whose scan raised it.

    A scan may scan again in the same thread, as cleaning does: that is part of its turn.
    """

    def __init__(self) -> None:
        self._process = OneProcess()
        self._lock = threading.Lock()
        self._waiting: deque[_Ticket] = deque()
        self._turn: _Ticket | None = None

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
    ) -> dict[str, Entry]:
        """An entry for each key: cached, computed by another caller, or scanned in one turn.

        Args:
            sources: key → the source to scan.
            scan: maps sources to one entry each, in order.
            cache: holds the entries; one that its `keep` rejects goes to no other caller.

        Raises:
            GuardError: stage `process`; another process used this queue first.
            GuardAlignError: anything `scan` raises, in this thread.
            asyncio.CancelledError: the caller's task was cancelled before its turn.
        """
        self.check_process()
        caller = current_caller()
        caller.check()
        ticket = _Ticket({(cache, key) for key in sources})
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
                entries = dict(zip(rest, scan(list(rest.values())), strict=True))
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
            if not ticket.missing or (self._turn and self._turn.thread == ticket.thread):
                return False
            if self._turn is None:
                self._turn = ticket
                ticket.woken.set()
            else:
                self._waiting.append(ticket)
            return True

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
            if self._turn is ticket:
                self._turn = self._waiting.popleft() if self._waiting else None
                if self._turn is not None:
                    self._turn.woken.set()
        ticket.woken.set()
