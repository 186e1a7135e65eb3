"""A consistent snapshot of a log: the lines of all its files, and its head."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from guardalign_middleware.audit.heads import HeadFault, head_path, read_head
from guardalign_middleware.audit.keys import Keys
from guardalign_middleware.audit.lines import LARGEST_LINE, Head
from guardalign_middleware.audit.parts import (
    closed_files,
    earlier_files,
    entry_before,
    first_of,
)
from guardalign_middleware.audit.storage import open_regular, undisturbed
from guardalign_middleware.errors import AuditError


class Line(NamedTuple):
    """One line of a file of a log, including its newline.

    An overlong line comes in pieces, which are invalid lines.
    """

    file: str
    data: bytes
    is_last: bool


@dataclass(frozen=True)
class Snapshot:
    """The files of a log at one moment; later lines are not part of it."""

    log: Path
    earlier: tuple[Path, ...]
    present: BufferedReader | None
    size: int
    head: Head | HeadFault

    def lines(self) -> Iterator[Line]:
        """All lines, in the order of writing.

        Raises:
            OSError: a file cannot be read.
        """
        for path in self.earlier:
            with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
                yield from _lines(path.name, file, os.fstat(file.fileno()).st_size)
        if self.present is not None:
            yield from _lines(self.log.name, self.present, self.size)


@contextmanager
def reading(log: Path, keys: Keys, start: Head) -> Iterator[Snapshot]:
    """The log from `start` on. Writers wait only while the snapshot is taken.

    Raises:
        AuditError: the log cannot be opened or read.
    """
    with ExitStack() as stack:
        try:
            with undisturbed(log):
                present = _opened(log)
                if present is not None:
                    stack.enter_context(present)
                snapshot = _snapshot(log, present, keys, start)
            yield snapshot
        except OSError as error:
            raise AuditError(
                f"Cannot read the audit log {log}: {error.strerror}.",
                remedy="Check the path and its permissions.",
            ) from error


def _snapshot(log: Path, present: BufferedReader | None, keys: Keys, start: Head) -> Snapshot:
    head = read_head(log, keys)
    size = 0 if present is None else os.fstat(present.fileno()).st_size
    if present is not None and size:
        entry = first_of(present.fileno(), keys)
        first = None if entry is None else entry.before
    else:
        first = head if isinstance(head, Head) else None
        entry = None if first is None else entry_before(log, first, keys)
        first = first if entry is None else entry.after
    return Snapshot(log, tuple(earlier_files(log, first, keys, start)), present, size, head)


def _opened(log: Path) -> BufferedReader | None:
    """The present file; None if it was renamed, and no line written since.

    Raises:
        OSError: it cannot be opened, or there is no such log.
    """
    try:
        return os.fdopen(open_regular(log, os.O_RDONLY), "rb")
    except FileNotFoundError:
        if not os.path.lexists(head_path(log)) and not closed_files(log):
            raise
        return None


def _lines(name: str, file: BufferedReader, size: int) -> Iterator[Line]:
    line = file.readline(min(size, LARGEST_LINE + 1))
    while line:
        size -= len(line)
        following = file.readline(min(size, LARGEST_LINE + 1))
        yield Line(name, line, not following)
        line = following
