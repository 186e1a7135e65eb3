"""The end of a log as a crash can leave it, and how the log goes on from there.

A line is recorded once the head names it. Where the writer is stopped before that, the log holds at
most one line more than the head knows, whole or begun. A whole one is kept, since it is authentic.
A begun one is cut off, since nothing was reported as recorded in it. No crash leaves anything else.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from guardalign_middleware.audit.heads import head_path, read_head, write_head
from guardalign_middleware.audit.keys import Keys
from guardalign_middleware.audit.lines import EMPTY, AuditEntry, Head, could_follow, parse_line
from guardalign_middleware.audit.parts import closed_files, entry_before, last_line, split_tail
from guardalign_middleware.errors import AuditError

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """The end of a log.

    Attributes:
        head: the end of its last whole line.
        size: bytes of the whole lines in the present file.
        day: of the last line in the present file, as in "2026-11-28"; empty without one.
        unfinished: bytes behind the last whole line, which a stopped writer left.
        behind: whether the head names the line before the last one.
        head_written: whether the head was written on the way, so that it can be.
    """

    head: Head
    size: int
    day: str
    unfinished: int
    behind: bool
    head_written: bool = False


def settle(log: Path, file: int, keys: Keys, *, fsync: bool) -> Ending:
    """Complete what a stopped writer left at the end of a log, whose lock is held.

    Returns:
        The end, with nothing unfinished behind it and named by the head.

    Raises:
        AuditError: the end is not one that a crash can leave.
        OSError: it cannot be completed.
    """
    is_new = os.fstat(file).st_size == 0 and read_head(log, keys) == "missing"
    if is_new:
        if closed_files(log):
            raise spoiled(log, f"{head_path(log)} is missing")
        # Written before the first line, so that a log without a head is always suspect.
        write_head(log, EMPTY, keys, fsync=fsync)
    end = find_ending(log, file, keys)
    if end.unfinished:
        os.ftruncate(file, end.size)
        _LOGGER.warning(
            "The audit log ended in an unfinished line. Its %d bytes were cut off; nothing was "
            "recorded in them.",
            end.unfinished,
        )
    if end.behind:
        # First of all, so that the head is never more than one line behind.
        write_head(log, end.head, keys, fsync=fsync)
    return Ending(end.head, end.size, end.day, 0, False, is_new or end.behind)


def find_ending(log: Path, file: int, keys: Keys) -> Ending:
    """The end of a log, checked to be one that its writer left; nothing is changed.

    Raises:
        AuditError: it is not, or it was written with a different key.
        OSError: the log cannot be read.
    """
    kept = read_head(log, keys)
    if not isinstance(kept, Head):
        raise spoiled(log, f"{head_path(log)} is {kept}, or its key is different")
    whole, unfinished, size = split_tail(file)
    day = ""
    if whole or size > len(unfinished):
        last = parse_line(last_line(whole), keys)
        if not isinstance(last, AuditEntry):
            raise spoiled(log, "its last line is damaged")
        found, before, day = last.after, last.before, last.time[:10]
    elif kept == EMPTY:
        found = before = EMPTY
    else:
        entry = entry_before(log, kept, keys)
        if entry is None:
            raise spoiled(
                log,
                f"it is empty, and no file beside it ends with line {kept.entries}",
                remedy="Run `guardalign audit verify`. If the log was moved, put it back beside "
                f"this file, uncompressed, under a name that begins with {log.stem!r}. Otherwise "
                "its lines were removed: keep what is left as evidence, and start a new log.",
            )
        found, before = entry.after, entry.before
    if kept not in {found, before}:
        raise spoiled(log, "its end is not the one written last")
    if unfinished and not (kept == found and could_follow(unfinished, found)):
        raise spoiled(
            log,
            "its last line is damaged",
            remedy="Run `guardalign audit verify`. `guardalign audit repair` keeps aside what "
            "follows the last recorded line, and says what it was.",
        )
    return Ending(found, size - len(unfinished), day, len(unfinished), kept != found)


def spoiled(log: Path, how: str, *, remedy: str = "") -> AuditError:
    """The error for a log whose end no crash can have left."""
    return AuditError(
        f"Nothing is appended to the audit log {log}: {how}.",
        remedy=remedy
        or "Run `guardalign audit verify`. Keep the log and its head as evidence in "
        "another folder, and start a new log.",
    )
