"""Recognize code that judges words: a verdict in a cache must not outlive it."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType


def source_digest(options: str, modules: Iterable[ModuleType]) -> str:
    """SHA-256 of options and of the source of modules."""
    digest = hashlib.sha256(options.encode())
    for module in modules:
        digest.update(Path(inspect.getfile(module)).read_bytes())
    return digest.hexdigest()
