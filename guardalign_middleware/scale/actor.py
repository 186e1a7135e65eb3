"""What an actor of Ray does: it holds a guard in a process of its own, and survives its inputs."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from guardalign_middleware import __version__
from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.job import Job, Outcome
from guardalign_middleware.bulk.pool import WorkerPool
from guardalign_middleware.errors import ConfigError, GuardAlignError
from guardalign_middleware.scale.reading import PACKED, enter, packed_table, unpack


class Pool(Protocol):
    """Scans inputs, as `WorkerPool` does."""

    def outcomes(self, entries: Iterable[Entry]) -> Iterator[Outcome]:
        """What came of each input, in order."""


class Holder:
    """Holds the guard of an actor.

    The models are in a child process. An input that kills it, of too little memory for example, is
    tried once more and is then an input with an error, as with `guardalign scan --workers`. If they
    were in the actor itself, Ray would start it again with the same input for ever. The child ends
    with the actor, however that ends.

    Args:
        job: what to do with each input.
        version: of the program that started the job.
        marks: files that are there if this machine sees the folders of that program.
    """

    def __init__(self, job: Job, version: str, marks: Sequence[Path] = ()) -> None:
        self._pool: Pool | None = None
        self._error: GuardAlignError | None = None
        try:
            check_version(version)
            check_marks(marks)
            self._pool = WorkerPool(job, 1)
        except GuardAlignError as error:
            # Ray keeps only the text of what a constructor raises.
            self._error = error

    def outcomes(self, entries: Iterable[Entry]) -> Iterator[Outcome]:
        """What came of each input, in order.

        Raises:
            GuardAlignError: what ended the guard's loading, or what `WorkerPool.outcomes` raises.
        """
        if self._error is not None:
            raise self._error
        assert self._pool is not None
        return self._pool.outcomes(entries)


class Scan:
    """One actor: scans blocks of inputs.

    Args:
        job: what to do with each.
        version: of the program that started the job.
        marks: files in the job's folders.
        folder: in which that program runs.
    """

    def __init__(self, job: Job, version: str, marks: Sequence[Path], folder: str) -> None:
        enter(folder)
        self._holder = Holder(job, version, marks)

    def __call__(self, block: Any) -> Any:
        """The outcomes of a block of packed inputs, packed; what was skipped is passed on.

        What ends the scan is the last one: Ray keeps only the text of what is raised here.
        """
        taken = unpack(one.as_py() for one in block.column(PACKED))
        made: list[bytes] = []
        try:
            outcomes = self._holder.outcomes(one for _, one in taken if isinstance(one, Entry))
            for shard, one in taken:
                came = next(outcomes) if isinstance(one, Entry) else one
                made.append(pickle.dumps((shard, came)))
        except GuardAlignError as error:
            made.append(pickle.dumps((None, error)))
        return packed_table(made)


def check_version(version: str) -> None:
    """Check that this machine has the version of the program that started the job.

    Raises:
        ConfigError: it has another one, whose verdicts may differ.
    """
    if version != __version__:
        raise ConfigError(
            f"A machine of the cluster has GuardAlign {__version__}; this program is {version}.",
            remedy="Install one version everywhere.",
        )


def check_marks(marks: Sequence[Path]) -> None:
    """Check that this machine writes into the folders of the program that started the job.

    Raises:
        ConfigError: a folder is another one here.
    """
    for mark in marks:
        if not mark.exists():
            raise ConfigError(
                f"The folder {mark.parent} is not the same on all machines of the cluster.",
                remedy="Name one on storage that they share, by its whole path.",
            )


@contextmanager
def marked(folders: Iterable[Path]) -> Iterator[tuple[Path, ...]]:
    """A file in each folder for the time of a job, by which other machines know it."""
    marks = tuple(folder.resolve() / f".guardalign-{uuid4().hex}" for folder in folders)
    try:
        for mark in marks:
            mark.touch()
        yield marks
    finally:
        for mark in marks:
            mark.unlink(missing_ok=True)
