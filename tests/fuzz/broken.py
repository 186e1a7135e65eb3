"""Targets that fail in every possible way, for testing the harness itself."""

from __future__ import annotations

import os
import signal
from random import Random

from tests.fuzz.targets import Target


def make_number(random: Random) -> int:
    """Any case."""
    return random.randrange(10)


def crash(_: int) -> str:
    """End the process, as a broken decoder does."""
    os.kill(os.getpid(), signal.SIGSEGV)
    return "not reached"


def hang(_: int) -> str:
    """Use processor time forever."""
    while True:
        pass


def grow(_: int) -> str:
    """Allocate more memory than the limit."""
    return str(len(bytearray(4 << 30)))


def raise_untyped(number: int) -> str:
    """Raise an error that no caller is documented to expect.

    Raises:
        KeyError: always.
    """
    raise KeyError(number)


BROKEN = {
    f"broken-{check.__name__}": Target(make_number, check)
    for check in (crash, hang, grow, raise_untyped)
}
