"""Cleaned copies of tables and archives, put together from the cleaned pictures in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from guardalign_middleware.bulk.folders import Kind
from guardalign_middleware.bulk.table_copies import assemble_table
from guardalign_middleware.bulk.tables import is_table
from guardalign_middleware.bulk.tars import assemble_tar
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.writing import DRAFT

PARTS = ".parts"
"""Ends the name of the folder that has the cleaned pictures of a table or archive so far."""
_PART = re.compile(rf"0|[1-9][0-9]*|{DRAFT.pattern}")
"""A picture by its number, or one that is half-written."""


def parts_of(target: Path) -> Path:
    """The folder of the cleaned pictures of a table or an archive."""
    return target.with_name(target.name + PARTS)


def assemble(
    path: str,
    target: Path,
    column: str,
    policy: IntakePolicy,
    made: Collection[int],
    skip: Callable[[str, Kind], None],
) -> str | None:
    """Put the cleaned copy of a table or an archive together.

    Args:
        path: of the original.
        target: the copy; the cleaned pictures so far are removed if it is whole.
        column: of a table, with the pictures.
        policy: what counts as a picture.
        made: numbers of the pictures that were cleaned for it. Others may lie there, of a scan by
            another guard.
        skip: called with the name of each other column of a table that is not copied whole.

    Returns:
        Why the copy is short or missing; None = it is whole.

    Raises:
        ConfigError: it cannot be written.
    """
    folder, before = parts_of(target), _identity(target)
    parts = {number: folder / str(number) for number in made}
    damage: str | None
    if gone := sum(not part.is_file() for part in parts.values()):
        damage = (
            f"There is no new copy of {path}: {gone:,} of its cleaned pictures are not in {folder} "
            "any more. Scan it again, with another folder and another file of results."
        )
    elif is_table(path):
        damage = assemble_table(path, parts, target, column, policy, skip)
    else:
        damage = assemble_tar(path, parts, target, policy)
    if damage is None:
        # Otherwise a later scan, of the file when it is whole, puts them into a new copy.
        _remove_parts(folder)
    elif before is not None and before == _identity(target):
        damage += f" {target} is of an earlier scan."
    return damage


def _identity(path: Path) -> tuple[int, int] | None:
    """What a file is, which a new one of the same name is not; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _remove_parts(folder: Path) -> None:
    """Remove the cleaned pictures, and nothing else that may lie there."""
    with suppress(OSError):
        for part in folder.iterdir():
            if _PART.fullmatch(part.name):
                part.unlink()
        folder.rmdir()
