"""Output files that are there completely or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
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

    Raises:
        NameTooLong: the file system does not take its name.
        ConfigError: it cannot be written.
    """
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    draft = target.with_name(f".{digest}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            yield file
        os.replace(draft, target)
    except OSError as error:
        why = f"Cannot write {target}: {error.strerror or error}."
        if error.errno == errno.ENAMETOOLONG:
            raise NameTooLong(why, remedy="Give its original a shorter name.") from error
        raise ConfigError(why, remedy="Make space, or name another folder.") from error
    finally:
        with suppress(OSError):
            draft.unlink()
