"""The two files of an audit log: the locked log itself and its head."""

from __future__ import annotations

import fcntl
import hmac
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Literal

from guardalign_middleware.audit.lines import LARGEST_LINE, Head, Keys, canonical, open_sealed
from guardalign_middleware.errors import AuditError

HeadFault = Literal["missing", "damaged"]


def head_path(log: Path) -> Path:
    """Where the head of a log is kept."""
    return log.with_name(f"{log.name}.head")


@contextmanager
def writing(log: Path) -> Iterator[FileIO]:
    """The log under an exclusive lock, created if missing.

    It is opened anew for each use: a lock belongs to an open file, so that threads exclude each
    other, too. It is unbuffered, because closing a buffer would retry a failed write.

    Raises:
        OSError: the log cannot be opened.
    """
    with open(log, "r+b", buffering=0, opener=_private) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


@contextmanager
def reading(log: Path, keys: Keys) -> Iterator[tuple[Iterator[bytes], Head | HeadFault]]:
    """A consistent snapshot of the log: its lines, including newlines, and its head.

    Writers wait only while the snapshot is taken; later lines are not part of it. An overlong line
    comes in pieces, which are invalid lines.

    Raises:
        AuditError: the log cannot be opened or read.
    """
    try:
        with open(log, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            size = os.fstat(file.fileno()).st_size
            head = read_head(log, keys)
            fcntl.flock(file, fcntl.LOCK_UN)
            yield _lines(file, size), head
    except OSError as error:
        raise AuditError(
            f"Cannot read the audit log {log}: {error.strerror}.",
            remedy="Check the path and its permissions.",
        ) from error


def _lines(file: BinaryIO, size: int) -> Iterator[bytes]:
    while line := file.readline(min(size, LARGEST_LINE + 1)):
        size -= len(line)
        yield line


def read_head(log: Path, keys: Keys) -> Head | HeadFault:
    """The head of a log.

    Raises:
        AuditError: the head exists but cannot be read.
    """
    path = head_path(log)
    try:
        with open(path, "rb") as file:
            line = file.read(LARGEST_LINE)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        raise AuditError(
            f"Cannot read {path}, the head of the audit log: {error.strerror}.",
            remedy="Check its permissions.",
        ) from error
    sealed = open_sealed(line)
    if sealed is None or not hmac.compare_digest(sealed[1], keys.of_head(sealed[0])):
        return "damaged"
    entries, last = sealed[0].get("entries"), sealed[0].get("last")
    return Head(entries, last) if isinstance(entries, int) and isinstance(last, str) else "damaged"


def write_head(log: Path, head: Head, keys: Keys, *, fsync: bool) -> None:
    """Replace the head atomically: after a power failure it is either the old or the new one.

    Raises:
        OSError: the new head cannot be written; the old one stays.
    """
    path = head_path(log)
    fresh = path.with_name(f"{path.name}.new")
    record = {"entries": head.entries, "last": head.mac}
    with open(fresh, "wb", opener=_private) as file:
        file.write(canonical({**record, "mac": keys.of_head(record)}))
        if fsync:
            file.flush()
            os.fsync(file.fileno())
    os.replace(fresh, path)
    if fsync:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o600)
