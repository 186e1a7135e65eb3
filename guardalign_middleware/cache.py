"""A bounded, thread-safe cache that computes each entry once, however many threads ask for it."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from guardalign_middleware.scan_threads import current_caller

Entry = TypeVar("Entry")
Source = TypeVar("Source")


class BoundedCache(Generic[Entry]):
    """The most recently used entries; evicts the least recently used. Threads may share it.

    Args:
        max_entries: most entries kept; 0 keeps none.
        max_bytes: most bytes they take together.
        size: bytes of one entry.
        keep: whether to keep an entry; all are kept by default.
    """

    def __init__(
        self,
        max_entries: int,
        max_bytes: float = math.inf,
        size: Callable[[Entry], int] = lambda _: 0,
        keep: Callable[[Entry], bool] = lambda _: True,
    ) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._size = size
        self._is_kept = keep
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._bytes = 0
        self._pending: dict[str, Future[Entry]] = {}

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def get(self, key: str) -> Entry | None:
        """The entry of a key, or None; computes nothing and waits for nothing."""
        with self._lock:
            return self._use(key)

    def put(self, key: str, entry: Entry) -> None:
        """Keep an entry; one that the key has already stays."""
        with self._lock:
            if self._is_kept(entry) and self._use(key) is None:
                self._keep(key, entry)

    def keeps(self, entry: Entry) -> bool:
        """Whether an entry may be kept, and so be given to others."""
        return self._is_kept(entry)

    def get_many(
        self,
        sources: Mapping[str, Source],
        compute: Callable[[list[Source]], list[Entry]],
    ) -> dict[str, Entry]:
        """An entry for each key; missing ones are computed in one call.

        Entries that another thread is computing are waited for. A thread finishes its own
        computation before it waits, which rules out deadlocks. If the other thread fails, or its
        entry is not to be kept, this thread computes the entry itself.

        Args:
            sources: key → the source to compute its entry from.
            compute: maps sources to one entry each, in order.

        Raises:
            GuardAlignError: anything `compute` raises in this thread; nothing is kept then.
            asyncio.CancelledError: the caller's task was cancelled while it waited.
        """
        found: dict[str, Entry] = {}
        while len(found) < len(sources):
            awaited: dict[str, Future[Entry]] = {}
            own: dict[str, Future[Entry]] = {}
            with self._lock:
                for key in sources:
                    if key in found:
                        continue
                    entry = self._use(key)
                    if entry is not None:
                        found[key] = entry
                    elif key in self._pending:
                        awaited[key] = self._pending[key]
                    else:
                        own[key] = self._pending[key] = Future()
            if own:
                found.update(self._compute(own, [sources[key] for key in own], compute))
            for key, future in awaited.items():
                _wait(future)
                if future.exception() is None and self._is_kept(future.result()):
                    found[key] = future.result()
        return found

    def _compute(
        self,
        own: Mapping[str, Future[Entry]],
        sources: list[Source],
        compute: Callable[[list[Source]], list[Entry]],
    ) -> dict[str, Entry]:
        try:
            entries = dict(zip(own, compute(sources), strict=True))
        except BaseException as error:
            with self._lock:
                for key in own:
                    del self._pending[key]
            for future in own.values():
                future.set_exception(error)
            raise
        with self._lock:
            for key, entry in entries.items():
                del self._pending[key]
                if self._is_kept(entry):
                    self._keep(key, entry)
        for key, future in own.items():
            future.set_result(entries[key])
        return entries

    def _use(self, key: str) -> Entry | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def _keep(self, key: str, entry: Entry) -> None:
        self._entries[key] = entry
        self._bytes += self._size(entry)
        while self._entries and (
            len(self._entries) > self._max_entries or self._bytes > self._max_bytes
        ):
            _, dropped = self._entries.popitem(last=False)
            self._bytes -= self._size(dropped)


def _wait(future: Future[Any]) -> None:
    """Wait until another thread has computed an entry.

    Raises:
        asyncio.CancelledError: the task of this call was cancelled.
    """
    woken = threading.Event()
    future.add_done_callback(lambda _: woken.set())
    caller = current_caller()
    caller.waits(woken.set)
    caller.check()
    woken.wait()
    caller.waits(None)
    caller.check()
