"""Cleaned copies of tables and archives, put together from the cleaned pictures in them."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from guardalign_middleware.bulk.tables import assemble_table, is_table
from guardalign_middleware.bulk.tars import assemble_tar
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ConfigError

PARTS = ".parts"
"""Ends the name of the folder that has the cleaned pictures of a table or archive so far."""
# A picture by its number; a half-written one by that of its process, too.
_PART = re.compile(r"[0-9]+|\.[0-9]+\.[0-9]+")


def parts_of(target: Path) -> Path:
    """The folder of the cleaned pictures of a table or an archive."""
    return target.with_name(target.name + PARTS)


def remove(copy: Path) -> None:
    """Remove a file of an earlier scan, if it is there.

    Raises:
        ConfigError: it cannot be removed.
    """
    try:
        copy.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"Cannot remove {copy}, a copy of an earlier scan: {error.strerror or error}.",
            remedy="Remove it, or name another folder.",
        ) from error


def remove_parts(target: Path) -> None:
    """Remove the cleaned pictures of a table or an archive, and nothing else that lies there.

    Raises:
        ConfigError: one cannot be removed.
    """
    parts = parts_of(target)
    if parts.is_dir():
        for part in parts.iterdir():
            if _PART.fullmatch(part.name):
                remove(part)
        with suppress(OSError):
            parts.rmdir()


def assemble(path: str, target: Path, column: str, policy: IntakePolicy) -> str | None:
    """Put the cleaned copy of a table or an archive together.

    Args:
        path: of the original.
        target: the copy; the folder of its parts is removed if it is whole.
        column: of a table, with the pictures.
        policy: what counts as a picture in an archive.

    Returns:
        Why the copy is short or missing, if the original is damaged; None = it is whole.

    Raises:
        ConfigError: it cannot be written.
    """
    parts = parts_of(target)
    if is_table(path):
        damage = assemble_table(path, parts, target, column)
    else:
        damage = assemble_tar(path, parts, target, policy)
    if damage is None:
        # Otherwise a later scan, of the file when it is whole, puts them into a new copy.
        remove_parts(target)
    return damage
