"""Refusing a guard in a forked process, which inherits its locks but not its threads."""

from __future__ import annotations

import os

from guardalign_middleware.errors import GuardError


class OneProcess:
    """Ties an object to the process that uses it first.

    A forked child inherits a model in its momentary state and none of its threads, so a call could
    wait forever; it is refused instead. An object that is loaded but still unused may be forked.
    """

    def __init__(self) -> None:
        self._process: int | None = None

    def check(self) -> None:
        """Note the process on the first call; compare it later.

        Raises:
            GuardError: stage `process`; this process is a fork of the one that used it first.
        """
        here = os.getpid()
        if self._process is None:
            self._process = here
        if self._process != here:
            raise GuardError(
                "This guard was used before the process was forked.",
                stage="process",
                remedy='Start processes with "spawn", or first use the guard after the fork.',
            )
