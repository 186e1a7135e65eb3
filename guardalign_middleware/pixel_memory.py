"""Bounds the memory of decoded pictures: those that were not used lately are decoded again.

A message may hold far more pixels than fit into memory as arrays. A picture that can make its
pixels again, from its file or from another picture, gives them up when too many others were used
after it. The pixels that come back are compared by digest with those that were scanned.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Protocol
from weakref import ref

PIXELS_IN_MEMORY = 25_000_000
"""How many pixels of pictures that can be made again this process keeps, 3 bytes each."""


class Releasable(Protocol):
    """A picture that can give up its pixels and make them again."""

    @property
    def width(self) -> int:
        """In pixels."""

    @property
    def height(self) -> int:
        """In pixels."""

    def release(self) -> None:
        """Give up the pixels."""


class PixelMemory:
    """Pictures with pixels in memory, the latest last; threads may share it.

    A picture that is in use stays alive through whoever uses its array, and the latest one always
    stays, so a picture may be larger than the limit.

    Args:
        most: pixels kept.
    """

    def __init__(self, most: int = PIXELS_IN_MEMORY) -> None:
        self._most = most
        self.forget()

    def forget(self) -> None:
        """Know no picture: at the start, and in a forked process, whose copy of a lock is held."""
        self._lock = threading.Lock()
        # A picture may be collected in any thread at any moment, so that must take no lock.
        self._gone: deque[int] = deque()
        self._held: OrderedDict[int, tuple[ref[Releasable], int]] = OrderedDict()
        self._pixels = 0

    @property
    def pixels(self) -> int:
        """How many are held now."""
        with self._lock:
            self._drop_gone()
            return self._pixels

    def make_room(self, pixels: int) -> None:
        """Release the pictures used longest ago, before so many pixels are decoded."""
        with self._lock:
            self._drop_gone()
            released = self._surplus(pixels)
        _release(released)

    def hold(self, picture: Releasable) -> None:
        """Note that a picture has its pixels; release the pictures used longest ago."""
        key, count = id(picture), picture.width * picture.height
        gone = self._gone
        with self._lock:
            # First: a picture that is gone may have had the same id.
            self._drop_gone()
            self._drop(key)
            released = self._surplus(count)
            self._held[key] = (ref(picture, lambda _: gone.append(key)), count)
            self._pixels += count
        _release(released)

    def _surplus(self, pixels: int) -> list[Releasable | None]:
        """Forget the pictures for which there is no room besides so many pixels."""
        surplus = []
        while self._held and self._pixels + pixels > self._most:
            oldest = next(iter(self._held))
            surplus.append(self._held[oldest][0]())
            self._drop(oldest)
        return surplus

    def _drop_gone(self) -> None:
        while self._gone:
            self._drop(self._gone.popleft())

    def _drop(self, key: int) -> None:
        entry = self._held.pop(key, None)
        if entry is not None:
            self._pixels -= entry[1]


def _release(pictures: Iterable[Releasable | None]) -> None:
    # Outside of the lock: it may take a digest.
    for picture in pictures:
        if picture is not None:
            picture.release()


MEMORY = PixelMemory()
"""Of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=MEMORY.forget)
