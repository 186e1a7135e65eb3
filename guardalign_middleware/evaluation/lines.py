"""Files of JSON lines that are appended to; what an interruption cut off is dropped."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guardalign_middleware.audit.storage import write_all
from guardalign_middleware.bulk.records import to_json_line
from guardalign_middleware.errors import ConfigError

Record = dict[str, Any]


def read_records(path: Path) -> list[Record]:
    """The complete lines of a file, in their order; none if there is no file.

    Raises:
        ConfigError: it cannot be read, or has a line that is no record with an id.
    """
    if not path.exists():
        return []
    found: list[Record] = []
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.") from error
    # What follows the last line end was cut off when it was written.
    for number, line in enumerate(lines[:-1], start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("id"), str):
            raise unusable(path, f"has no record in line {number}")
        found.append(record)
    return found


def read_lines(path: Path) -> dict[str, Record]:
    """The complete lines of a file by their `id`, in their order; none if there is no file.

    Raises:
        ConfigError: it cannot be read, or has a line that is no record with an id of its own.
    """
    found: dict[str, Record] = {}
    for record in read_records(path):
        if record["id"] in found:
            raise unusable(path, f"has {record['id']!r} twice")
        found[record["id"]] = record
    return found


def append_lines(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Append records, all or none.

    Raises:
        ConfigError: they cannot be written.
    """
    if not records:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            end = _end_of_lines(file)
            os.ftruncate(file, end)
            os.lseek(file, end, os.SEEK_SET)
            try:
                write_all(file, "".join(map(to_json_line, records)).encode())
            except OSError:
                os.ftruncate(file, end)
                raise
        finally:
            os.close(file)
    except OSError as error:
        raise ConfigError(
            f"Cannot write {path}: {error.strerror}.",
            remedy="Make space, and run the command again to go on.",
        ) from error


def _end_of_lines(file: int) -> int:
    """Where the last complete line ends."""
    end = os.lseek(file, 0, os.SEEK_END)
    while end:
        start = max(0, end - 65_536)
        os.lseek(file, start, os.SEEK_SET)
        block = os.read(file, end - start)
        found = block.rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def unusable(path: Path, why: str) -> ConfigError:
    """The error of a file that holds something else."""
    return ConfigError(f"The file {path} {why}.", remedy="Name another file or folder.")
