"""The writer of an audit log."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from io import FileIO
from pathlib import Path
from typing import Self

from guardalign_middleware.audit.lines import (
    EMPTY,
    LARGEST_LINE,
    AuditEntry,
    Head,
    Keys,
    key_from_environment,
    load_key,
    open_sealed,
    parse_line,
)
from guardalign_middleware.audit.record import Result, record_of, verdict_of
from guardalign_middleware.audit.storage import head_path, read_head, write_head, writing
from guardalign_middleware.config import AuditConfig
from guardalign_middleware.errors import AuditError


class AuditLog:
    """Appends verdicts to a log. Holds no open file and no state, so it can be shared and forked.

    Args:
        path: the log file; its head is kept beside it in `PATH.head`. Both are created on the first
            write, readable by their owner only.
        key: at least 32 secret bytes; see `load_key`.
        fsync: wait until each line is on the disk, where it survives a power failure.
        include_source: also record `verdict.source`, which may be a path.

    Raises:
        AuditError: the key is too short.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        key: bytes,
        *,
        fsync: bool = False,
        include_source: bool = False,
    ) -> None:
        self.path = Path(path)
        self.fsync = fsync
        self.include_source = include_source
        self._keys = Keys(key)

    @classmethod
    def from_config(cls, config: AuditConfig) -> Self:
        """The log described by a preset, with its key; no file is created yet.

        Raises:
            AuditError: the key cannot be read, or is too short.
        """
        if config.key_variable is not None:
            key = key_from_environment(config.key_variable)
        else:
            assert config.key_file is not None  # exactly one of the two is set
            key = load_key(config.key_file)
        return cls(config.log, key, fsync=config.fsync, include_source=config.include_source)

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
        if not (known and math.isfinite(verdict.threshold)):
            raise AuditError(
                "The distance or threshold of a verdict is not finite, so it is not recorded.",
                remedy="Treat it as a fault of the detector.",
            )
        try:
            with writing(self.path) as file:
                head = self._end_of(file)
                entry = self._entry(result, head)
                self._write(file, entry.to_line())
                self._write_head(Head(head.entries + 1, entry.mac))
        except OSError as error:
            raise AuditError(
                f"Cannot write to the audit log {self.path}: {error.strerror}.",
                remedy="Check the path, its permissions and the free space.",
            ) from error
        return entry

    def _entry(self, result: Result, head: Head) -> AuditEntry:
        entry = AuditEntry(
            number=head.entries,
            time=datetime.now(UTC).isoformat(timespec="microseconds"),
            **record_of(result, self._keys),
            version=_package_version(),
            source=verdict_of(result).source if self.include_source else None,
            previous=head.mac,
            mac="0" * 64,
        )
        sealed = open_sealed(entry.to_line())
        if sealed is None or len(entry.to_line()) > LARGEST_LINE:
            raise AuditError(
                f"This verdict needs a line of more than {LARGEST_LINE:,} bytes.",
                remedy="Shorten the names of categories and sources.",
            )
        return replace(entry, mac=self._keys.of_line(sealed[0]))

    def _end_of(self, file: FileIO) -> Head:
        """The end of the log, checked to be the one written last.

        Raises:
            AuditError: it is not, or it was written with a different key.
        """
        size = file.seek(0, os.SEEK_END)
        kept = read_head(self.path, self._keys)
        if size == 0 and kept == "missing":
            # Written before the first line, so that a log without a head is always suspect.
            self._write_head(EMPTY)
            return EMPTY
        if not isinstance(kept, Head):
            raise self._spoiled(f"{head_path(self.path)} is {kept}, or its key is different")
        if size == 0:
            found, before = EMPTY, EMPTY
        else:
            file.seek(max(0, size - LARGEST_LINE - 1))
            tail = file.readall()
            last = parse_line(tail[tail.rfind(b"\n", 0, -1) + 1 :], self._keys)
            if not isinstance(last, AuditEntry):
                raise self._spoiled("its last line is damaged")
            found, before = Head(last.number + 1, last.mac), Head(last.number, last.previous)
        # A crash between the two writes leaves one line more than the head knows.
        if kept not in {found, before}:
            raise self._spoiled("its end is not the one written last")
        return found

    def _write(self, file: FileIO, line: bytes) -> None:
        end = file.seek(0, os.SEEK_END)
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[file.write(rest) :]
            if self.fsync:
                os.fsync(file.fileno())
        except OSError:
            # A full disk leaves half a line, which would make the log unusable.
            file.truncate(end)
            raise

    def _write_head(self, head: Head) -> None:
        write_head(self.path, head, self._keys, fsync=self.fsync)

    def _spoiled(self, how: str) -> AuditError:
        return AuditError(
            f"Nothing is appended to the audit log {self.path}: {how}.",
            remedy="Run `guardalign audit verify`, keep both files as evidence, and start a new "
            "log.",
        )


@cache
def _package_version() -> str:
    return version("guardalign-middleware")
