"""Verdicts that are remembered: agent loops send the same picture again with every turn."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace

from guardalign_middleware.types import CanonicalImage, Verdict


class VerdictCache:
    """The last verdicts of one detector, by the digest of the picture's size and pixels.

    Exact: only an equal picture hits, and a detector never changes. Bounded: beyond `size` verdicts
    the one that was not asked for the longest goes. Threads may share it.

    Args:
        size: most verdicts kept; 0 keeps none. One takes about 50 bytes a patch.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._verdicts: OrderedDict[str, Verdict] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, image: CanonicalImage) -> Verdict | None:
        """The verdict on an equal picture, with this one's source."""
        if not self._size:
            return None
        with self._lock:
            verdict = self._verdicts.get(image.sha256)
            if verdict is None:
                return None
            self._verdicts.move_to_end(image.sha256)
        return replace(verdict, source=image.source)

    def put(self, verdict: Verdict) -> None:
        """Remember a verdict."""
        if not self._size:
            return
        with self._lock:
            self._verdicts[verdict.sha256] = verdict
            self._verdicts.move_to_end(verdict.sha256)
            while len(self._verdicts) > self._size:
                self._verdicts.popitem(last=False)

    def __len__(self) -> int:
        return len(self._verdicts)
