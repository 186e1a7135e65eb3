"""The files of one log: the one that is written, and those that were closed before.

A closed file of `audit.jsonl` is named after the number of its last line, counted over all files:
`audit.jsonl.000000004000`. A file that someone else renamed (logrotate) is found by its content:
the last line of one file is the one that the first line of the next one names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from guardalign_middleware.audit.heads import head_path
from guardalign_middleware.audit.keys import Keys
from guardalign_middleware.audit.lines import (
    LARGEST_LINE,
    AuditEntry,
    Head,
    is_unfinished,
    parse_line,
)
from guardalign_middleware.audit.storage import open_regular
from guardalign_middleware.errors import AuditError

_TAIL = 2 * (LARGEST_LINE + 1)


def closed_path(log: Path, entries: int) -> Path:
    """The name of a file of `log` whose last line is number `entries`, from 1."""
    return log.with_name(f"{log.name}.{entries:012d}")


def closed_files(log: Path) -> list[tuple[int, Path]]:
    """The files that this program closed, in order, with the number of their last line.

    Raises:
        OSError: the folder cannot be read.
    """
    pattern = re.compile(re.escape(log.name) + r"\.([0-9]{12})")
    matches = ((pattern.fullmatch(name), name) for name in os.listdir(log.parent))
    return sorted((int(match[1]), log.with_name(name)) for match, name in matches if match)


def close_file(log: Path, head: Head) -> None:
    """Rename the log, whose end this is and whose lock is held, to make place for a new file.

    Raises:
        AuditError: the name is taken.
        OSError: it cannot be renamed.
    """
    target = closed_path(log, head.entries)
    if os.path.lexists(target):
        raise AuditError(
            f"The audit log {log} cannot be closed as {target}, because that file exists.",
            remedy="Move it to another folder.",
        )
    os.rename(log, target)


def split_tail(file: int) -> tuple[bytes, bytes, int]:
    """The end of a file: its last whole lines, what follows them, and the size of the file.

    The lines may begin in the middle of one, but the last line is whole. What follows is an
    unfinished line, usually empty.

    Raises:
        OSError: the file cannot be read.
    """
    size = os.lseek(file, 0, os.SEEK_END)
    tail = os.pread(file, _TAIL, max(0, size - _TAIL))
    end = tail.rfind(b"\n", 0, -1) + 1 if tail else 0
    if not tail or not is_unfinished(tail[end:]):
        return tail, b"", size
    return tail[:end], tail[end:], size


def last_line(lines: bytes) -> bytes:
    """The last of several lines."""
    return lines[lines.rfind(b"\n", 0, -1) + 1 :]


def entry_before(log: Path, kept: Head, keys: Keys) -> AuditEntry | None:
    """The last entry of the file that was closed or renamed before the present, empty log.

    Args:
        log: the log.
        kept: its head, which that entry has to match.
        keys: its keys.

    Raises:
        OSError: the folder cannot be read.
    """
    closed = [path for _, path in closed_files(log)]
    for path in chain(reversed(closed), _renamed(log, closed)):
        entry = _last_entry(path, keys)
        if entry is not None and kept in {entry.after, entry.before}:
            return entry
    return None


def earlier_files(log: Path, first: Head | None, keys: Keys, start: Head) -> list[Path]:
    """The files before the present one, in order, back to `start`.

    Files that this program closed are always part of the log. Others are, if they end where the
    next file begins, so that a copy of the log beside it is not.

    Args:
        log: the log.
        first: where its present file begins, or its head if that is empty; None if unknown.
        keys: its keys.
        start: where the walk along the log begins.

    Raises:
        OSError: the folder cannot be read.
    """
    own = closed_files(log)
    closed = [(last, path) for last, path in own if last > start.entries]
    others: dict[Head, Path] | None = None
    found: list[Path] = []
    begin = first
    while begin is None or begin.entries > start.entries:
        if closed and (begin is None or closed[-1][0] == begin.entries):
            path = closed.pop()[1]
        else:
            if others is None:
                others = _by_end(_renamed(log, [path for _, path in own]), keys)
            match = None if begin is None else others.pop(begin, None)
            if match is None and not closed:
                break
            path = closed.pop()[1] if match is None else match
        found.append(path)
        entry = _first_entry(path, keys)
        begin = None if entry is None else entry.before
    # What is left overlaps the other files, which the walk will report.
    found += [path for _, path in reversed(closed)]
    return found[::-1]


def first_of(file: int, keys: Keys) -> AuditEntry | None:
    """The first entry of an open file; None if its first line is not one.

    Raises:
        OSError: the file cannot be read.
    """
    data = os.pread(file, LARGEST_LINE + 1, 0)
    found = parse_line(data[: data.find(b"\n") + 1], keys)
    return found if isinstance(found, AuditEntry) else None


def _by_end(paths: Iterable[Path], keys: Keys) -> dict[Head, Path]:
    ends: dict[Head, Path] = {}
    for path in paths:
        entry = _last_entry(path, keys)
        if entry is not None:
            ends.setdefault(entry.after, path)
    return ends


def _renamed(log: Path, closed: Sequence[Path]) -> Iterator[Path]:
    """Files beside the log that may have been renamed from it; its closed files are left out."""
    known = {*closed, log}
    head = head_path(log).name
    for name in sorted(os.listdir(log.parent)):
        path = log.with_name(name)
        if name.startswith(log.stem) and not name.startswith(head) and path not in known:
            yield path


def _last_entry(path: Path, keys: Keys) -> AuditEntry | None:
    """The last entry of a file; None if the file is no log with these keys."""
    try:
        file = open_regular(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        found = parse_line(last_line(split_tail(file)[0]), keys)
    finally:
        os.close(file)
    return found if isinstance(found, AuditEntry) else None


def _first_entry(path: Path, keys: Keys) -> AuditEntry | None:
    file = open_regular(path, os.O_RDONLY)
    try:
        return first_of(file, keys)
    finally:
        os.close(file)
