"""Making a log writable again whose end is damaged, without losing a recorded line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from guardalign_middleware.audit.ending import spoiled
from guardalign_middleware.audit.heads import head_path, read_head, write_head
from guardalign_middleware.audit.keys import Keys
from guardalign_middleware.audit.lines import (
    EMPTY,
    LARGEST_LINE,
    AuditEntry,
    Head,
    could_follow,
    parse_line,
)
from guardalign_middleware.audit.parts import entry_before
from guardalign_middleware.audit.storage import open_regular, write_all, writing
from guardalign_middleware.errors import AuditError

_SHOWN = 200
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Repair:
    """What `repair` did.

    Attributes:
        entries: number of lines that the log has now, over all its files.
        cut: number of bytes that were cut off behind the last line.
        beginning: the first of them, at most 200.
        kept_in: the file in which they are kept; None if nothing was cut.
        by_crash: whether a stopped writer can have left them. Otherwise someone else wrote them.
        named: whether the last line was whole, and only its head was not written yet.
    """

    entries: int
    cut: int
    beginning: bytes
    kept_in: Path | None
    by_crash: bool
    named: bool


def repair(path: str | os.PathLike[str], key: bytes) -> Repair:
    """Cut off what follows the last recorded line, and bring the head up to it.

    No authentic line is ever cut off. What is, is kept in a file beside the log.

    Args:
        path: the log file.
        key: its key.

    Raises:
        AuditError: lines are missing or were changed, which no repair can undo; or the log cannot
            be read or written.
    """
    log = Path(path)
    keys = Keys(key)
    try:
        with writing(log, create=False) as file:
            return _repair(log, file, keys)
    except OSError as error:
        raise AuditError(
            f"Cannot repair the audit log {log}: {error.strerror}.",
            remedy="Check the path, its permissions and the free space.",
        ) from error


def _repair(log: Path, file: int, keys: Keys) -> Repair:
    kept = read_head(log, keys)
    if not isinstance(kept, Head):
        raise spoiled(log, f"{head_path(log)} is {kept}, or its key is different")
    end, before, found = _last_recorded(log, file, keys, kept)
    if kept not in {before, found}:
        raise spoiled(
            log, "its lines up to the first damaged one are not those that its head names"
        )
    size = os.fstat(file).st_size
    rest = os.pread(file, LARGEST_LINE + 1, end)
    saved = None
    if size > end:
        saved = _save(log, file, end)
        os.ftruncate(file, end)
    if kept != found:
        write_head(log, found, keys, fsync=True)
    by_crash = could_follow(rest, found) and kept == found
    return Repair(found.entries, size - end, rest[:_SHOWN], saved, by_crash, kept != found)


def _last_recorded(log: Path, file: int, keys: Keys, kept: Head) -> tuple[int, Head, Head]:
    """Where the last line ends that follows from the first one, and the chain before and after it.

    Raises:
        AuditError: an authentic line stands behind it, out of order.
    """
    entry = None if kept == EMPTY else entry_before(log, kept, keys)
    before, found = (EMPTY, EMPTY) if entry is None else (entry.before, entry.after)
    end, position, damaged = 0, 0, False
    with os.fdopen(os.dup(file), "rb") as lines:
        lines.seek(0)
        while line := lines.readline(LARGEST_LINE + 1):
            position += len(line)
            line_entry = parse_line(line, keys)
            if not isinstance(line_entry, AuditEntry):
                damaged = True
            elif damaged or (end and line_entry.before != found):
                raise spoiled(log, "authentic lines stand behind a damaged one, or out of order")
            else:
                end = position
                before, found = line_entry.before, line_entry.after
    return end, before, found


def _save(log: Path, file: int, end: int) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    path = log.with_name(f"{log.name}.cut-{stamp}")
    target = open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        while data := os.pread(file, _CHUNK, end):
            write_all(target, data)
            end += len(data)
        os.fsync(target)
    finally:
        os.close(target)
    return path
