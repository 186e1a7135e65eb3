"""The writer of an audit log."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from guardalign_middleware import __version__
from guardalign_middleware.audit.ending import Ending, settle
from guardalign_middleware.audit.heads import head_path, prepare_head, read_head, write_head
from guardalign_middleware.audit.keys import Keys, key_from
from guardalign_middleware.audit.lines import LARGEST_LINE, AuditEntry, Head
from guardalign_middleware.audit.parts import close_file
from guardalign_middleware.audit.record import Result, record_of, verdict_of
from guardalign_middleware.audit.spelling import open_sealed
from guardalign_middleware.audit.storage import sync_folder, write_all, writing
from guardalign_middleware.config import AuditConfig
from guardalign_middleware.errors import AuditError


class AuditLog:
    """Appends verdicts to a log. Holds no open file and no state, so it can be shared and forked.

    A line and its head are one step: either both are written, or neither. What a stopped writer
    left is completed before the next line.

    Args:
        path: the log file; its head is kept beside it in `PATH.head`. Both are created by `recover`
            or the first write, readable by their owner only.
        key: at least 32 secret, random bytes; see `load_key`.
        fsync: wait until each line is on the disk, where it survives a power failure.
        include_source: also record `verdict.source`, which may be a path.
        rotate_bytes: close the file before it grows larger, and go on in a new one.
        rotate_daily: go on in a new file on each day (UTC) with an entry.

    Raises:
        AuditError: the key is too short or too regular.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        key: bytes,
        *,
        fsync: bool = False,
        include_source: bool = False,
        rotate_bytes: int | None = None,
        rotate_daily: bool = False,
    ) -> None:
        self.path = Path(path)
        self.fsync = fsync
        self.include_source = include_source
        self.rotate_bytes = rotate_bytes
        self.rotate_daily = rotate_daily
        self._keys = Keys(key)

    @classmethod
    def from_config(cls, config: AuditConfig) -> Self:
        """The log described by a preset, with its key, ready to be written.

        Raises:
            AuditError: the key cannot be read or is weak, or the log is spoiled or cannot be
                written.
        """
        log = cls(
            config.log,
            key_from(config.key_file, config.key_variable),
            fsync=config.fsync,
            include_source=config.include_source,
            rotate_bytes=config.rotate_bytes,
            rotate_daily=config.rotate_daily,
        )
        log.recover()
        return log

    def recover(self) -> None:
        """Complete what a stopped writer left at the end of the log, as the next `append` would.

        A log that does not exist is created, empty, and its head is written in any case: what
        could not record a verdict should not start.

        Raises:
            AuditError: the log cannot be written, or its end is not one that a crash can leave.
        """
        with self._explained(), writing(self.path) as file:
            end = settle(self.path, file, self._keys, fsync=self.fsync)
            if not end.head_written:
                write_head(self.path, end.head, self._keys, fsync=self.fsync)

    def append(self, result: Result) -> AuditEntry:
        """Record the decision on one image; the line is in the file when this returns.

        Args:
            result: the verdict of a scan, or the result of cleaning an image.

        Raises:
            AuditError: the line cannot be written, or the log was changed since the last line;
                nothing is then appended, because that would hide the change.
        """
        verdict = verdict_of(result)
        known = verdict.fault is not None or math.isfinite(verdict.distance)
        # Only of an observation, the threshold may be unknown.
        if not known or (verdict.decided and not math.isfinite(verdict.threshold)):
            raise AuditError(
                "The distance or threshold of a verdict is not finite, so it is not recorded.",
                remedy="Treat it as a fault of the detector.",
            )
        with self._explained():
            while True:
                with writing(self.path) as file:
                    end = settle(self.path, file, self._keys, fsync=self.fsync)
                    entry = self._entry(result, end.head)
                    if not self._is_full(end, entry):
                        self._write(file, entry)
                        return entry
                    close_file(self.path, end.head)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise AuditError(
                f"Cannot write to the audit log {self.path}: {error.strerror}.",
                remedy="Check the path, its permissions and the free space.",
            ) from error

    def _entry(self, result: Result, head: Head) -> AuditEntry:
        entry = AuditEntry(
            number=head.entries,
            time=datetime.now(UTC).isoformat(timespec="microseconds"),
            **record_of(result, self._keys),
            version=__version__,
            source=verdict_of(result).source if self.include_source else None,
            previous=head.mac,
            mac="0" * 64,
        )
        line = entry.to_line()
        sealed = open_sealed(line)
        if sealed is None or len(line) > LARGEST_LINE:
            raise AuditError(
                f"This verdict needs a line of more than {LARGEST_LINE:,} bytes.",
                remedy="Shorten the names of categories and sources.",
            )
        return replace(entry, mac=self._keys.of_line(sealed[0]))

    def _is_full(self, end: Ending, entry: AuditEntry) -> bool:
        if end.size == 0:
            return False
        # A clock that was set back begins no new file.
        if self.rotate_daily and entry.time[:10] > end.day:
            return True
        if self.rotate_bytes is None:
            return False
        return end.size + len(entry.to_line()) > self.rotate_bytes

    def _write(self, file: int, entry: AuditEntry) -> None:
        # The next head is written first: on a full disk, that fails before there is a line.
        fresh = prepare_head(self.path, entry.after, self._keys, fsync=self.fsync)
        end = os.lseek(file, 0, os.SEEK_END)
        try:
            write_all(file, entry.to_line())
            if self.fsync:
                os.fsync(file)
            os.replace(fresh, head_path(self.path))
        except OSError:
            # Also raised by a signal's handler, maybe after the head was replaced.
            if read_head(self.path, self._keys) != entry.after:
                os.ftruncate(file, end)
            raise
        if self.fsync:
            sync_folder(self.path)
