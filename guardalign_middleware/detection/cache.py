"""Verdicts that are remembered: agent loops send the same picture again with every turn."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace

from guardalign_middleware.types import CanonicalImage, Verdict


class VerdictCache:
    """The last verdicts of one detector, by the digest of the picture's size and pixels.

    Exact: only an equal picture hits, a detector never changes, and what it draws for random views
    depends on the picture alone. A verdict at a draw that somebody else chose answers only who asks
    for this draw. Bounded: beyond `size` verdicts
    the one that was not asked for the longest goes. Threads may share it.

    Args:
        size: most verdicts kept; 0 keeps none. One takes about 50 bytes a patch.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._verdicts: OrderedDict[tuple[str, str | None], Verdict] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, image: CanonicalImage, draw: str | None = None) -> Verdict | None:
        """The verdict on an equal picture, with this one's source."""
        if not self._size:
            return None
        key = (image.sha256, draw)
        with self._lock:
            verdict = self._verdicts.get(key)
            if verdict is None:
                return None
            self._verdicts.move_to_end(key)
        return replace(verdict, source=image.source)

    def put(self, verdict: Verdict, draw: str | None = None) -> None:
        """Remember a verdict, under the draw that was asked for."""
        if not self._size:
            return
        key = (verdict.sha256, draw)
        with self._lock:
            self._verdicts[key] = verdict
            self._verdicts.move_to_end(key)
            while len(self._verdicts) > self._size:
                self._verdicts.popitem(last=False)

    def __len__(self) -> int:
        return len(self._verdicts)
