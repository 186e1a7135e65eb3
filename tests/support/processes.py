"""What other processes do with a guard; in a module that a spawned process can import."""

from __future__ import annotations

import os

import numpy as np

from guardalign_middleware.errors import GuardError
from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.types import CanonicalImage

IMAGE = CanonicalImage(np.full((128, 128, 3), 90, np.uint8))


def scan(guard: LazyGuard) -> str:
    """The decision, or the stage of the fault."""
    try:
        return guard.get().scan(IMAGE).decision
    except GuardError as error:
        return error.stage


def scan_and_fork(guard: LazyGuard) -> dict[str, str]:
    """What this process and its forked children see, in order."""
    guard.get()
    return {
        "forked before use": forked(guard),
        "here": scan(guard),
        "forked after use": forked(guard),
    }


def forked(guard: LazyGuard) -> str:
    """What a forked child sees."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(write, scan(guard).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as answer:
        return answer.read()
