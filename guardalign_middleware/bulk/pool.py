"""Scanning in several processes, in the order of the inputs, with bounded memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from multiprocessing import connection
from types import TracebackType
from typing import Protocol, Self

from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.job import DeviceLost, Job, Outcome
from guardalign_middleware.errors import ModelLoadError

_AHEAD = 4
"""Inputs under way for each process: enough that none waits while a slow one is awaited."""
_ATTEMPTS = 2

_scanner: _Scans | None = None


class _Scans(Protocol):
    def scan(self, entry: Entry) -> Outcome: ...


class WorkerPool(AbstractContextManager["WorkerPool"]):
    """Processes that scan, each with a guard of its own.

    At most a few inputs for each process are under way, and their results come in order. A process
    that dies takes one input with it, which is tried once more, by a new process; if that dies as
    well, the input could not be scanned. A process that loses its accelerator is replaced as well;
    if the new one loses it, too, that ends the scan. All processes end with this one, however it
    ends.

    Args:
        job: what to do with each input.
        workers: how many processes, at least 1.

    Raises:
        ConfigError, ModelLoadError, AuditError: as for `Scanner`.
    """

    def __init__(self, job: Job, workers: int) -> None:
        self._job = job
        self._workers = [_Worker(job) for _ in range(workers)]
        try:
            for worker in self._workers:
                worker.ready()
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def outcomes(self, entries: Iterable[Entry]) -> Iterator[Outcome]:
        """What came of each input, in order.

        Raises:
            GuardAlignError: what `Scanner.scan` raises, in any of the processes.
        """
        waiting = iter(entries)
        under_way: deque[_Task] = deque()
        while True:
            while len(under_way) < _AHEAD * len(self._workers):
                entry = next(waiting, None)
                if entry is None:
                    break
                task = _Task(entry, min(self._workers, key=lambda worker: worker.load(under_way)))
                task.start()
                under_way.append(task)
            if not under_way:
                return
            yield self._finish(under_way)
            under_way.popleft()

    def _finish(self, under_way: deque[_Task]) -> Outcome:
        """The outcome of the first task."""
        task = under_way[0]
        while True:
            try:
                return task.future.result()
            except (BrokenProcessPool, DeviceLost) as error:
                # It was being scanned, since it is the oldest; the others waited for it.
                task.attempts += 1
                given_up = task.attempts >= _ATTEMPTS
                if isinstance(error, DeviceLost):
                    if given_up:
                        raise
                    task.worker.stop()  # by itself, a process without its accelerator may not end
                task.worker.restart()
                # Not before: the executor tells its tasks one after another that it broke.
                lost = [one for one in under_way if one.worker is task.worker and one.lost()]
                for one in lost[1:] if given_up else lost:
                    one.start()
                if given_up:
                    return _died(task.entry)

    def _stop(self) -> None:
        for worker in self._workers:
            worker.stop()


class _Worker:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._process: int | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.executor = ProcessPoolExecutor(1, mp_context=context)
        self._ready = self.executor.submit(_prepare, self._job)

    def ready(self) -> None:
        """Wait until the guard is loaded."""
        try:
            self._process = self._ready.result()
        except BrokenProcessPool as error:
            raise ModelLoadError(
                "A process died while it loaded the guard.",
                remedy="Ask for fewer --workers: each holds the models in its memory.",
            ) from error

    def load(self, tasks: Iterable[_Task]) -> int:
        """How many tasks it has not finished."""
        return sum(task.worker is self and not task.future.done() for task in tasks)

    def restart(self) -> None:
        """Begin again in a new process; all tasks of the old one are done then, or lost."""
        self.executor.shutdown(wait=True, cancel_futures=True)
        self._start()
        self.ready()

    def stop(self) -> None:
        """End the process at once, whatever it scans."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGKILL)
        self.executor.shutdown(wait=True, cancel_futures=True)


@dataclass
class _Task:
    entry: Entry
    worker: _Worker
    attempts: int = 0
    future: Future[Outcome] = None  # type: ignore[assignment]

    def start(self) -> None:
        try:
            self.future = self.worker.executor.submit(_scan, self.entry)
        except BrokenProcessPool as error:
            # It died meanwhile: as if it had died after this.
            self.future = Future()
            self.future.set_exception(error)

    def lost(self) -> bool:
        """Whether its process ended before it was done; one that is under way is not lost."""
        if not self.future.done():
            return False
        if self.future.cancelled():
            return True
        return isinstance(self.future.exception(), BrokenProcessPool | DeviceLost)


def _died(entry: Entry) -> Outcome:
    return Outcome.of_error(
        entry,
        f"{entry.source}: the process that scanned it died, twice; perhaps of too little memory.",
    )


def _prepare(job: Job) -> int:
    """Load the guard of this process; its number."""
    # Imported on use: handing out work takes no models.
    from guardalign_middleware.bulk.scanner import Scanner

    take_part(Scanner(job))
    return os.getpid()


def take_part(scanner: _Scans) -> None:
    """Make a scanner that of this process, which ends with the first one."""
    global _scanner
    _scanner = scanner
    # Ctrl-C reaches every process of the terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def end_with_parent() -> None:
    """Let this process end when the one that started it does, however that one ends."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait(sentinel: int = parent.sentinel) -> None:
        connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _scan(entry: Entry) -> Outcome:
    assert _scanner is not None
    return _scanner.scan(entry)
