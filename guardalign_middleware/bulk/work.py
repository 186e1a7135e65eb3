"""What is left of a scan, as it is asked for: input by input, or file by file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from guardalign_middleware.bulk.copies import parts_of
from guardalign_middleware.bulk.entries import Inputs, from_stdin, is_shard, read_entries
from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.folders import Skipped
from guardalign_middleware.bulk.job import Job, Outcome
from guardalign_middleware.bulk.names import STDIN
from guardalign_middleware.bulk.places import Copies
from guardalign_middleware.intake.data_url import is_data_url


class Done(Protocol):
    """The results of an earlier scan, of which nothing is scanned again."""

    def status(self, source: str, shard: str | None) -> int | None:
        """The exit status for an input that stands there; None if it does not."""

    def statuses_in(self, path: str) -> Mapping[str, int]:
        """The exit status for each input of a table or an archive that stands there."""

    @property
    def copies(self) -> Copies:
        """What they take of the folder of cleaned copies."""


@dataclass(frozen=True)
class Reading:
    """A file that another machine reads: one input, or a table or an archive of them.

    Attributes:
        file: its path, and the place of its cleaned copy.
        number: position of its first input among all inputs, from 1.
        done: inputs in it that are left out; their position counts.
        entry: the one input, which is not read from the file.
    """

    file: tuple[str, str]
    number: int
    done: frozenset[str] = frozenset()
    entry: Entry | None = None


class Work:
    """What is left to scan, read as it is asked for.

    Args:
        inputs: of the scan.
        job: what is done with each.
        column: of tables, with the pictures.
        file: what was done before; None = nothing, and an input may be named twice.

    Attributes:
        statuses: of the inputs that were done before.
        skipped: members of archives that are not scanned, as far as they were read.
        done: how many files were done before.
    """

    def __init__(self, inputs: Inputs, job: Job, column: str, file: Done | None) -> None:
        self.inputs, self.job, self.column = inputs, job, column
        self._file = file
        self._scanned: set[str] = set()
        self.statuses: set[int] = set()
        self.skipped = Skipped()
        self.done = sum(self._status(path) is not None for path, _ in inputs.files)

    def entries(self) -> Iterator[Entry]:
        """Every input that was not done before."""
        policy, number = self.job.config.intake, 0
        named: set[tuple[str | None, str]] = set()
        for file in self.inputs.files:
            known = partial(self._known, shard=file[0])
            for entry in read_entries(file, self.column, policy, known, self.skipped.add):
                number += 1
                status = self._status(entry.source, entry.shard)
                if status is not None:
                    self.statuses.add(status)
                elif not self._named_before(entry, named):
                    if entry.shard is not None:
                        self.scanned_in(entry.shard)
                    read = from_stdin(entry, policy) if entry.source == STDIN else entry
                    yield replace(read, number=number)

    def readings(self) -> Iterator[Reading]:
        """Every file with inputs that were not done before, for other machines to read.

        Only where pictures of the verdicts are drawn, whose names have the positions of the inputs,
        are tables and archives counted here first.
        """
        number = 1
        named: set[tuple[str | None, str]] = set()
        for file in self.inputs.files:
            path, place = file
            if is_shard(path):
                done = {} if self._file is None else dict(self._file.statuses_in(path))
                # Damage is looked for again: the file may have been repaired.
                for damage in (f"{path}!", f"{path}#"):
                    done.pop(damage, None)
                self.statuses.update(done.values())
                if not self._named_before(Entry(path, place), named):
                    yield Reading(file, number, frozenset(done))
                number += self._count(file)
                continue
            status = self._status(path)
            if status is not None:
                self.statuses.add(status)
            elif not self._named_before(entry := Entry(path, place, number=number), named):
                yield Reading(file, number, entry=self._sent(entry))
            number += 1

    def stands(self, outcome: Outcome) -> bool:
        """Whether an outcome stands in the file to resume; its status counts then.

        So it is with damage that an earlier scan wrote down, if it is still there.
        """
        if self._status(outcome.source, outcome.shard) is None:
            return False
        self.statuses.add(outcome.status)
        return True

    def scanned_in(self, path: str) -> None:
        """Note that an input of a table or an archive was scanned now."""
        self._scanned.add(path)

    def shards(self) -> Iterator[tuple[str, str]]:
        """The tables and archives of which a cleaned copy is to be made now, and its place."""
        assert self.job.copies is not None
        copied = {} if self._file is None else self._file.copies.files
        # Named twice, it is put together once: the parts are gone then.
        for place, path in {place: path for path, place in self.inputs.files}.items():
            if is_shard(path):
                target = self.job.copies / place
                # Not Path.exists, to which a name that is too long is an error.
                complete = os.path.exists(target) and not os.path.exists(parts_of(target))
                # One of which nothing stands in the file was made by another scan.
                if path in self._scanned or place not in copied or not complete:
                    yield path, place

    def _count(self, file: tuple[str, str]) -> int:
        """How many inputs a table or an archive has, where that matters."""
        if self.job.overlays is None:
            return 0
        policy = self.job.config.intake
        return sum(1 for _ in read_entries(file, self.column, policy, lambda source: False))

    def _sent(self, entry: Entry) -> Entry | None:
        """An input that is in no file, so that other machines cannot read it."""
        if entry.source == STDIN:
            return from_stdin(entry, self.job.config.intake)
        return entry if is_data_url(entry.source) else None

    def _known(self, source: str, shard: str) -> bool:
        return self._status(source, shard) is not None

    def _status(self, source: str, shard: str | None = None) -> int | None:
        """The status of an input whose results stand in the file to resume; None if they do not."""
        return None if self._file is None else self._file.status(source, shard)

    def _named_before(self, entry: Entry, named: set[tuple[str | None, str]]) -> bool:
        """Whether an input was named twice, which would put it into the file twice."""
        if self._file is None or entry.known_as is None:
            return False
        again = entry.known_as in named
        named.add(entry.known_as)
        return again
