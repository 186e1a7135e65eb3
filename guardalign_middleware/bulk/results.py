"""`guardalign scan --resume FILE`: results as they come, and no input scanned twice."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from guardalign_middleware.audit.storage import write_all
from guardalign_middleware.bulk.names import has_name
from guardalign_middleware.bulk.places import Copies
from guardalign_middleware.bulk.records import status_of, to_json_line
from guardalign_middleware.errors import ConfigError

_OPENING = b'{"source": '


class ResumeFile:
    """The JSON lines of an earlier, interrupted scan, to which this one appends.

    All lines of one input are written together. What an interruption left of them is cut off, so an
    input stands here completely or not at all.

    Attributes:
        copies: what the results take of the folder of cleaned copies.
    """

    def __init__(self, path: Path, file: int) -> None:
        self.path = path
        self._file = file
        self._done: dict[str | None, dict[str, int]] = {}
        self._guards: set[str | None] = set()
        self._columns: set[str] = set()
        self._with_copies: set[bool] = set()
        self.copies = Copies()
        self._read()

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """Open or create the file, and keep other scans away from it.

        Raises:
            ConfigError: it cannot be opened, is in use, or holds anything but results of a scan.
        """
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise _unusable(path, f"cannot be opened ({error.strerror})") from error
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise _unusable(path, "is not a regular file")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise _unusable(path, "is in use by another scan") from error
            yield cls(path, file)
        finally:
            os.close(file)

    def status(self, source: str, shard: str | None = None) -> int | None:
        """The exit status for an input that stands here; None if it does not.

        Args:
            source: its name.
            shard: path of the table or archive that it lies in; None = it is a file of its own.
        """
        return self._done.get(shard, {}).get(source)

    def statuses_in(self, path: str) -> Mapping[str, int]:
        """The exit status for each input of a table or an archive that stands here."""
        return self._done.get(path, {})

    def check_copies(self, *, wanted: bool) -> None:
        """Keep results with and without cleaned copies apart: what stands here is not done again.

        Raises:
            ConfigError: a result here was made with a cleaned copy, and none is wanted, or without.
        """
        if self._with_copies - {wanted}:
            have = "without" if wanted else "with"
            raise _unusable(self.path, f"holds results of a scan {have} --sanitize")

    def check_folder(self, folder: Path, sources: Collection[str]) -> None:
        """Check that the cleaned copies of files are where this scan would write them.

        What stands here is not cleaned again. Copies of tables and archives are looked for when
        they are put together.

        Args:
            folder: of all copies.
            sources: of this scan.

        Raises:
            ConfigError: copies are elsewhere, or gone.
        """
        gone = [
            place
            for place, source in self.copies.files.items()
            if source in self._done.get(None, {})
            and source in sources
            and not os.path.lexists(folder / place)
        ]
        if gone:
            more = f" and {len(gone) - 1:,} more" if len(gone) > 1 else ""
            raise _unusable(
                self.path,
                f"says that cleaned copies were made that are not in {folder}: {gone[0]}{more}",
                remedy="Name the folder of the scan that made them with --sanitize, or another "
                "file with --resume, to make them again.",
            )

    def check_guard(self, identity: str) -> None:
        """Keep results of different guards apart, errors included.

        Args:
            identity: from `scan_identity`; the `guard` of each line.

        Raises:
            ConfigError: a result here was made by another guard, or does not say by which.
        """
        if self._guards - {identity}:
            raise _unusable(
                self.path,
                "holds results of another preset, --words, --mode or version",
                remedy="Give the options of the scan that made it, or name another file with "
                "--resume.",
            )

    def check_column(self, column: str) -> None:
        """Keep results of different columns of tables apart: a row is known by its number.

        Raises:
            ConfigError: a result here is of another column.
        """
        if others := self._columns - {column}:
            other = min(others)
            raise _unusable(
                self.path,
                f"holds results of the column {other!r} of tables, not {column!r}",
                remedy=f"Give --column {shlex.quote(other)}, or name another file with --resume; "
                "with --sanitize, another folder as well.",
            )

    def add(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Append the lines of one input.

        Raises:
            ConfigError: they cannot be written; none of them stays.
        """
        end = os.lseek(self._file, 0, os.SEEK_END)
        try:
            write_all(self._file, "".join(map(to_json_line, records)).encode())
        except OSError as error:
            os.ftruncate(self._file, end)
            raise ConfigError(
                f"Cannot write {self.path}: {error.strerror}.",
                remedy="Make space, and run the command again to go on.",
            ) from error
        self._note(records)

    def _note(self, records: Sequence[Mapping[str, Any]]) -> None:
        source, shard = _input_of(records[0])
        if has_name(source):
            self._done.setdefault(shard, {})[source] = max(map(status_of, records))
        self.copies.note(records)
        self._with_copies |= {"copy" in one for one in records if "error" not in one}
        self._columns |= {one["column"] for one in records if one.get("column") is not None}
        self._guards |= {one.get("guard") for one in records}

    def _read(self) -> None:
        """Note what stands here, input by input, and cut off what is not complete."""
        position = complete = 0
        waiting: list[dict[str, Any]] = []
        with os.fdopen(os.dup(self._file), "rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    if not _could_begin(line):
                        raise _unusable(self.path, f"holds no result of a scan in line {number}")
                    break
                record = _record(line)
                if record is None:
                    raise _unusable(self.path, f"holds no result of a scan in line {number}")
                position += len(line)
                if waiting and _input_of(waiting[0]) != _input_of(record):
                    raise _unusable(self.path, f"is incomplete before line {number}")
                waiting.append(record)
                if len(waiting) >= max(record.get("frames", 1), record.get("pages", 1)):
                    self._note(waiting)
                    complete, waiting = position, []
        if os.fstat(self._file).st_size > complete:
            os.ftruncate(self._file, complete)


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("source"), str):
        return None
    if not all(isinstance(record.get(name), str | None) for name in ("copy", "shard", "column")):
        return None
    if record.get("shard") is not None and not _is_part(record.get("copy")):
        return None
    counts = (record.get("frames", 1), record.get("pages", 1))
    known = isinstance(record.get("error"), str) or record.get("decision") in {
        "allow",
        "observe",
        "mask",
        "block",
    }
    return record if known and all(type(count) is int for count in counts) else None


def _is_part(copy: str | None) -> bool:
    """Whether this is the place of a cleaned picture in a table or an archive, or None."""
    name = "0" if copy is None else os.path.basename(copy)
    return name.isascii() and name.isdecimal()


def _input_of(record: Mapping[str, Any]) -> tuple[str, str | None]:
    """The name of the input that a line is about, and the table or archive that it lies in."""
    return record["source"], record.get("shard")


def _could_begin(line: bytes) -> bool:
    """Whether an interrupted scan can have left the beginning of a line."""
    return line[: len(_OPENING)] == _OPENING[: len(line)]


def _unusable(
    path: Path, why: str, remedy: str = "Name another file with --resume."
) -> ConfigError:
    return ConfigError(f"The file {path} {why}.", remedy=remedy)
