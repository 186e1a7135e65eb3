"""Targets that fail in every way there is, so that the harness itself can be tested."""

from __future__ import annotations

import os
import signal
from random import Random

from tests.fuzz.targets import Target


def make_number(random: Random) -> int:
    """Any case at all."""
    return random.randrange(10)


def crash(_: int) -> str:
    """End the process, as a broken decoder does."""
    os.kill(os.getpid(), signal.SIGSEGV)
    return "not reached"


def hang(_: int) -> str:
    """Use processor time without end."""
    while True:
        pass


def grow(_: int) -> str:
    """Ask for more memory than there may be."""
    return str(len(bytearray(4 << 30)))


def raise_untyped(number: int) -> str:
    """Raise what nobody told callers to expect.

    Raises:
        KeyError: always.
    """
    raise KeyError(number)


BROKEN = {
    f"broken-{check.__name__}": Target(make_number, check)
    for check in (crash, hang, grow, raise_untyped)
}
