"""Output files that are there completely or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from guardalign_middleware.errors import ConfigError

DRAFT: Final = re.compile(r"\.[0-9a-f]{16}\.[0-9]+")
"""The name of a file that is being written: of a digest, since its own name may be of any length
that the file system takes, and of the process."""


class NameTooLong(ConfigError):
    """A file cannot be written because its name or path is too long; others can."""


@contextmanager
def replaced(target: Path) -> Iterator[IO[bytes]]:
    """A file to write, which takes its name when the block ends without an error.

    A link keeps pointing to its file, which is replaced. A pipe or a device, such as /dev/stdout,
    cannot be replaced and is written as it is.

    Raises:
        NameTooLong: the file system does not take its name.
        ConfigError: it cannot be written.
    """
    with unwritable(target):
        if _is_special(target):
            with target.open("wb") as file:
                yield file
            return
        target = Path(os.path.realpath(target)) if target.is_symlink() else target
        digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
        draft = target.with_name(f".{digest}.{os.getpid()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                yield file
            os.replace(draft, target)
        finally:
            with suppress(OSError):
                draft.unlink()


def check_target(target: Path) -> None:
    """Find out before long work whether a file can be written, and make its folder.

    Raises:
        ConfigError: it cannot.
    """
    with unwritable(target):
        if target.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        if _is_special(target):
            return
        folder = Path(os.path.realpath(target)).parent
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def _is_special(target: Path) -> bool:
    return target.exists() and not target.is_file() and not target.is_dir()


@contextmanager
def unwritable(target: Path) -> Iterator[None]:
    """Around what only writes: an error of the system is about the target.

    Raises:
        NameTooLong, ConfigError: in place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        why = f"Cannot write {target}: {error.strerror or error}."
        if error.errno == errno.ENAMETOOLONG:
            raise NameTooLong(why, remedy="Give its original a shorter name.") from error
        raise ConfigError(why, remedy="Make space, or name another file or folder.") from error
