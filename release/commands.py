"""Running other programs, with their output where they fail."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


class CheckFailed(Exception):
    """Something is not ready for a release; the message says what."""


def run(
    command: Sequence[str | Path],
    *,
    folder: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> str:
    """The standard output of a program that has to succeed.

    Raises:
        CheckFailed: it did not; the message has its output.
    """
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, **(variables or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        shown = " ".join(str(word) for word in command)
        raise CheckFailed(f"{shown}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def uv(*words: str | Path, **options: str) -> str:
    """The output of uv, of this environment; options are variables of the environment."""
    return run([Path(sys.executable).with_name("uv"), *words], variables=options)


def tool(package: str, *words: str | Path) -> str:
    """The output of a program of a package, `name==version`, in an environment of its own."""
    return uv("tool", "run", "--quiet", "--from", package, *words)


def say(line: str) -> None:
    """Print a line at once, also into a file."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
