"""Reading on the machines of a cluster: any file becomes rows, damaged ones too.

The processes that read import this module; it loads nothing of the models.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from guardalign_middleware.bulk.entries import is_shard, read_entries
from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.folders import Skipped
from guardalign_middleware.bulk.work import Reading
from guardalign_middleware.config import IntakePolicy

PACKED = "packed"
"""The column of Ray's blocks: an input or an outcome as it is, whatever bytes its name has."""
Packed = Entry | Skipped
"""What is read: an input, or the count of what an archive has besides."""
FILES = 16
"""Files that are read, scanned and written down together: what the end of a job at most loses, for
each process."""
BLOCK_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Task:
    """What one machine reads at a time.

    Attributes:
        readings: files of one input each, or one table or archive.
        column: of tables, with the pictures.
        policy: what counts as a picture, and how large it may be.
    """

    readings: tuple[Reading, ...]
    column: str
    policy: IntakePolicy

    def blocks(self) -> Iterator[list[bytes]]:
        """The inputs, packed, in blocks of some megabytes.

        Raises:
            ConfigError: a table has no such column, or what reads tables is not installed.
        """
        block: list[bytes] = []
        size = 0
        for reading in self.readings:
            for shard, entry in self._entries(reading):
                packed = pickle.dumps((shard, entry))
                if block and (size + len(packed) > BLOCK_BYTES or len(block) >= FILES):
                    yield block
                    block, size = [], 0
                block.append(packed)
                size += len(packed)
        yield block

    def _entries(self, reading: Reading) -> Iterator[tuple[str | None, Packed]]:
        """The inputs of a file, with the table or archive that they lie in, and what is skipped."""
        path, _ = reading.file
        if reading.entry is not None:
            yield None, reading.entry
            return
        skipped = Skipped()
        done = reading.done.__contains__
        entries = read_entries(reading.file, self.column, self.policy, done, skipped.add)
        shard = path if is_shard(path) else None
        for number, entry in enumerate(entries, start=reading.number):
            if entry.source not in reading.done:
                entry = replace(entry, number=number)
                yield shard, entry if shard else _read(entry, self.policy)
        if skipped:
            yield shard, skipped


def tasks(readings: Iterable[Reading], column: str, policy: IntakePolicy) -> Iterator[Task]:
    """What is read together: some files, or one table or archive."""
    waiting = iter(readings)
    together: list[Reading] = []

    def made(some: Sequence[Reading]) -> Task:
        return Task(tuple(some), column, policy)

    for reading in waiting:
        if reading.entry is None and is_shard(reading.file[0]):
            if together:
                yield made(together)
                together = []
            yield made([reading])
            continue
        together.append(reading)
        if len(together) == FILES:
            yield made(together)
            together = []
    if together:
        yield made(together)


def enter(folder: str) -> None:
    """Work where the program that started the job does, so that names mean the same files.

    A machine that has no such folder finds whole paths only.
    """
    with suppress(OSError):
        os.chdir(folder)


def reader(task: Task, folder: str) -> Callable[[], Iterator[Any]]:
    """What a machine runs to read: blocks of packed inputs.

    Args:
        task: what to read.
        folder: as for `enter`.
    """

    def read() -> Iterator[Any]:
        enter(folder)
        yield from map(packed_table, task.blocks())

    return read


def packed_table(packed: list[bytes]) -> Any:
    """A block of what is packed, for Ray."""
    import pyarrow

    return pyarrow.table({PACKED: pyarrow.array(packed, pyarrow.large_binary())})


def unpack(block: Iterable[bytes]) -> list[tuple[str | None, Packed]]:
    """The inputs of a block, and what was skipped."""
    return [pickle.loads(packed) for packed in block]


def _read(entry: Entry, policy: IntakePolicy) -> Entry:
    """The input with the bytes of its file.

    What cannot be read, or is too large, is left to the guard, which names the reason.
    """
    try:
        with open(entry.source, "rb") as file:
            data = file.read(policy.max_bytes + 1)
    except (OSError, ValueError):
        return entry
    return entry if len(data) > policy.max_bytes else replace(entry, data=data)
