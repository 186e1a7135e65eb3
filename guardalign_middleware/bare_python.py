"""Scripts in a Python of their own that has nothing but the packages they need.

Such a process starts in a tenth of a second, knows no secrets of the environment, and can be ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

# What a Python on Windows or with libraries of its own needs to start; secrets stay here.
_ENVIRONMENT = ("SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class NoProcess(Exception):
    """A process cannot be started; the text says why."""


class MissingPackage(NoProcess):
    """A package that the script needs is not installed."""


def bare_command(script: str, arguments: Sequence[str], packages: Sequence[str]) -> list[str]:
    """The command that runs a script with arguments, followed by the packages' folders.

    Raises:
        MissingPackage: a package is not installed.
        NoProcess: this Python cannot start another one.
    """
    folders: dict[str, None] = {}
    for name in packages:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise MissingPackage(f"the package {name} is missing")
        folders[str(Path(spec.origin).parent.parent)] = None
    if not sys.executable or getattr(sys, "frozen", False):
        raise NoProcess("sys.executable names no Python")
    return [sys.executable, "-I", "-S", script, *arguments, *folders]


def bare_environment() -> dict[str, str]:
    """The few variables that such a process gets."""
    return {key: os.environ[key] for key in _ENVIRONMENT if key in os.environ}


def run_bare(command: Sequence[str], data: bytes, seconds: float) -> bytes | None:
    """What a process writes when it gets the data; None if it crashed or had to be ended.

    Raises:
        NoProcess: it cannot be started.
    """
    try:
        done = subprocess.run(
            command,
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=bare_environment(),
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    except OSError as error:
        raise NoProcess(str(error.strerror)) from error
    return done.stdout if done.returncode == 0 else None
