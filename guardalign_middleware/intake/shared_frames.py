"""Equal files are decoded once, for as long as anyone has the pictures."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable
from weakref import ref

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.types import CanonicalImage

Frames = tuple[CanonicalImage, ...]
_Key = tuple[str, IntakePolicy, bool]


class SharedFrames:
    """The pictures of decoded files; threads may share it. It keeps none of them alive."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Know nothing: at the start, and in a forked process, whose copy of a lock is held."""
        self._lock = threading.Lock()
        # A picture may be collected in any thread at any moment, so that must take no lock.
        self._gone: deque[_Key] = deque()
        self._files: dict[_Key, tuple[ref[CanonicalImage], ...]] = {}

    def get(
        self,
        data: bytes,
        policy: IntakePolicy,
        label: str,
        decode: Callable[[], Frames],
        *,
        single: bool,
    ) -> Frames:
        """The pictures of a file, decoded unless somebody has them.

        Args:
            data: the file.
            policy: under which it is decoded.
            label: the source that the pictures name.
            decode: decodes it; its errors pass through, and nothing is remembered then.
            single: whether it may have one frame only.
        """
        digest = hashlib.sha256(data).hexdigest()
        key = (digest, policy, single)
        gone = self._gone
        with self._lock:
            while gone:
                self._drop(gone.popleft())
            known = [each() for each in self._files.get(key, ())]
        found = tuple(image for image in known if image is not None)
        if found and len(found) == len(known):
            if len(found) == 1:
                return (found[0].named(label),)
            # The labels of several frames are made of the file's own.
            if found[0].source.startswith(f"{label}#"):
                return found
        frames = decode()
        if len(frames) == 1 and frames[0].file is not None:
            frames[0].__dict__["file_sha256"] = digest  # a cached property
        with self._lock:
            self._files[key] = tuple(ref(image, lambda _: gone.append(key)) for image in frames)
        return frames

    def _drop(self, key: _Key) -> None:
        known = self._files.get(key, ())
        if any(each() is None for each in known):
            del self._files[key]


SHARED = SharedFrames()
"""Of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SHARED.forget)
