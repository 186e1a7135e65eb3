"""What a fork leaves of a guard in use: locks and queues, but not the threads that serve them."""

from __future__ import annotations

import os

from guardalign_middleware.errors import GuardError


class OneProcess:
    """Belongs to the process that uses it first.

    A forked child inherits a model in the state of that moment, and none of its threads: a call
    could wait forever. So it is refused. What was loaded and not used yet may be forked.
    """

    def __init__(self) -> None:
        self._process: int | None = None

    def check(self) -> None:
        """Note the process, or compare it.

        Raises:
            GuardError: stage `process`; the first use was in a process that this one is a fork of.
        """
        here = os.getpid()
        if self._process is None:
            self._process = here
        if self._process != here:
            raise GuardError(
                "This guard was used before the process was forked.",
                stage="process",
                remedy='Start processes by "spawn", or use a guard first after the fork.',
            )
