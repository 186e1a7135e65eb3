"""Opening, locking and replacing the files of an audit log; they are regular files only."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def open_regular(path: str | os.PathLike[str], flags: int) -> int:
    """Open a regular file, and never wait for the other end of a pipe.

    Returns:
        Its descriptor. A new file is readable by its owner only.

    Raises:
        OSError: it cannot be opened, or is a folder, pipe, socket or device.
    """
    quiet = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        file = os.open(path, flags | quiet, 0o600)
    except ValueError as error:
        raise OSError(errno.EINVAL, "the path holds an invalid character") from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return file


@contextmanager
def writing(log: Path, *, create: bool = True) -> Iterator[int]:
    """Open the log for reading and writing, and lock out all other writers.

    The lock is on a file of its own, `NAME.lock`, because the log may be renamed by a log rotator.
    It is opened anew for each use: a lock belongs to an open file, so that threads exclude each
    other, too.

    Raises:
        OSError: the log or its lock cannot be opened.
    """
    if not create:
        os.stat(log)
    with _locked(log, os.O_RDONLY | os.O_CREAT, fcntl.LOCK_EX):
        file = open_regular(log, os.O_RDWR | (os.O_CREAT if create else 0))
        try:
            yield file
        finally:
            os.close(file)


@contextmanager
def undisturbed(log: Path) -> Iterator[None]:
    """Let writers wait. A copy of a log has no lock, and no writers.

    Raises:
        OSError: the lock cannot be opened.
    """
    if not os.path.lexists(_lock_path(log)):
        yield
        return
    with _locked(log, os.O_RDONLY, fcntl.LOCK_SH):
        yield


def _lock_path(log: Path) -> Path:
    return log.with_name(f"{log.name}.lock")


@contextmanager
def _locked(log: Path, flags: int, kind: int) -> Iterator[None]:
    path = _lock_path(log)
    while True:
        file = open_regular(path, flags)
        try:
            fcntl.flock(file, kind)
            if _is_at(file, path):
                yield
                return
        finally:
            os.close(file)


def _is_at(file: int, path: Path) -> bool:
    """Whether an open file still has this name, which a log rotator may have taken away."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def write_all(file: int, data: bytes) -> None:
    """Write all bytes at the end of a file.

    Raises:
        OSError: not all could be written; some may have been.
    """
    os.lseek(file, 0, os.SEEK_END)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def prepare(path: Path, data: bytes, *, fsync: bool) -> Path:
    """Write the new content of a small file beside it, to be put in its place by `os.replace`.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    fresh = path.with_name(f"{path.name}.new")
    file = open_regular(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        write_all(file, data)
        if fsync:
            os.fsync(file)
    except OSError:
        with suppress(OSError):
            os.unlink(fresh)
        raise
    finally:
        os.close(file)
    return fresh


def sync_folder(path: Path) -> None:
    """Wait until the names of the files beside `path` are on the disk.

    Raises:
        OSError: the folder cannot be opened, or the disk failed.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
