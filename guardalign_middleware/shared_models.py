"""Loaded models that handles share, so that a process loads each only once."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

Model = TypeVar("Model")


class Share(Generic[Model]):
    """A place for one model; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._model: Model | None = None

    def get(self, load: Callable[[], Model]) -> Model:
        """The model, loaded by the first caller; the others wait for it.

        Raises:
            Exception: whatever `load` raises. The next caller loads again.
        """
        with self._lock:
            if self._model is None:
                self._model = load()
            return self._model


class SharedModels:
    """One share for each key.

    A model lives as long as a handle holds its share, used or not. Of each kind, the ones that were
    used last live on without a handle, so that an adapter made for one call does not load again.

    Args:
        kept: for each kind, how many live on.
    """

    def __init__(self, **kept: int) -> None:
        self._kept = kept
        self._forget()
        if hasattr(os, "register_at_fork"):
            # A forked process cannot use what its parent used, and may inherit a taken lock.
            os.register_at_fork(after_in_child=self._forget)

    def share(self, key: str) -> Share[Any]:
        """The share of a key."""
        with self._lock:
            found = self._shares.get(key)
            if found is None:
                found = self._shares[key] = Share()
            return found

    def keep(self, kind: str, *shares: Share[Any]) -> None:
        """Keep shares that are about to be used; those used longest ago are dropped first.

        Call it before loading, so that memory is free by then.
        """
        with self._lock:
            last = self._last.setdefault(kind, OrderedDict())
            last[shares] = None
            last.move_to_end(shares)
            while len(last) > self._kept[kind]:
                last.popitem(last=False)

    def release(self) -> None:
        """Drop everything that no handle holds."""
        with self._lock:
            self._last.clear()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._shares: WeakValueDictionary[str, Share[Any]] = WeakValueDictionary()
        self._last: dict[str, OrderedDict[tuple[Share[Any], ...], None]] = {}
