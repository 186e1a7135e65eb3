"""A scanner whose process dies of some inputs; in a module that a spawned process can import."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.job import DeviceLost, Job, Outcome
from guardalign_middleware.bulk.pool import take_part
from guardalign_middleware.errors import AuditError, ConfigError


class Dying:
    """Dies of "poison" whenever it comes, of "once FILE" the first time, and reports the rest.

    Of "lost TIMES FILE" it loses its accelerator, as often.
    """

    def __init__(self, job: Job) -> None:
        if job.overlays is not None:
            raise ConfigError("It cannot be made.", remedy="Make another one.")
        self._lost = False

    def scan(self, entry: Entry) -> Outcome:
        """Die, raise, or tell which process this is."""
        what, _, file = entry.source.partition(" ")
        if what == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "once" and not Path(file).exists():
            Path(file).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "lost":
            times, _, file = file.partition(" ")
            with Path(file).open("a+b") as lost:
                if lost.tell() < int(times):
                    lost.write(b"1")
                    self._lost = True
        if self._lost:
            raise DeviceLost(entry)
        if what == "unrecorded":
            raise AuditError("It cannot be recorded.")
        record = {"source": entry.source, "decision": "allow", "process": os.getpid()}
        return Outcome(entry.source, (record,))


def prepare(job: Job) -> int:
    """In place of `pool._prepare`: no models are loaded."""
    take_part(Dying(job))
    return os.getpid()
