"""Reading a small file whole: a regular one, and never more than its cap."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MAX_BYTES = 1 << 20
"""Cap of a file that people write, such as a preset: the largest shipped one has 40 KB."""

MAX_DEPTH = 32
"""How deep lists and mappings may be nested there: shipped files need six levels."""


class Malformed(ValueError):
    """A file that is not what it should be; the text says what is wrong, without a full stop."""


def read_bytes(path: str | os.PathLike[str], limit: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file; a pipe or a device is refused, and does not block.

    Raises:
        Malformed: there is no such file, it cannot be read, is not a regular file, or has more
            than `limit` bytes.
    """
    try:
        # Opening a pipe would otherwise wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Malformed("it is not a regular file")
            data = file.read(limit + 1)
    except OSError as error:
        raise Malformed(error.strerror or str(error)) from error
    except ValueError as error:  # such as a NUL in the path
        raise Malformed(str(error)) from error
    if len(data) > limit:
        raise Malformed(f"it has more than {limit:,} bytes")
    return data


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether there is such a folder; False for a path that no file system takes."""
    return os.path.isdir(Path(path))


def is_regular(path: str | os.PathLike[str]) -> bool:
    """Whether there is such a regular file; False for a path that no file system takes."""
    return os.path.isfile(Path(path))


def decode(data: bytes) -> str:
    """UTF-8 to text.

    Raises:
        Malformed: it is not UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"it is not UTF-8 at byte {error.start:,}") from error


def check_text(text: str, place: str) -> str:
    """Pass on a text that any path, tokenizer and file can take.

    Raises:
        Malformed: it holds a NUL or half of a surrogate pair.
    """
    if "\0" in text:
        raise Malformed(f"{place} holds a NUL character")
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise Malformed(f"{place} holds half of a surrogate pair")
    return text
