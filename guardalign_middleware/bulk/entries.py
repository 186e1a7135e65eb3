"""What is scanned: files, the pictures of tables and archives, one after another."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from guardalign_middleware.bulk.copies import PARTS
from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.folders import Kind, look
from guardalign_middleware.bulk.names import STDIN, as_path, has_name
from guardalign_middleware.bulk.tables import is_table, table_entries
from guardalign_middleware.bulk.tars import is_tar, tar_entries
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ConfigError, ImageRejected


@dataclass(frozen=True)
class Inputs:
    """What the arguments of a scan name.

    Attributes:
        files: each with the place of its cleaned copy; tables and archives are one file each.
        skipped: other files in folders, with their kind.
        errors: for what cannot be looked into.
    """

    files: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, Kind], ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def count(self) -> int | None:
        """How many entries there are; None if only reading a table or an archive tells."""
        return None if any(is_shard(path) for path, _ in self.files) else len(self.files)


def is_shard(path: str) -> bool:
    """Whether a file holds many pictures: a table or an archive, by its name."""
    return is_table(path) or is_tar(path)


def find_inputs(paths: Sequence[str], lists: Sequence[Path], policy: IntakePolicy) -> Inputs:
    """The files that paths, patterns, folders and lists of paths name.

    Args:
        paths: of files and folders, patterns such as "shards/*.tar", data URLs, or "-".
        lists: text files with a path in each line.
        policy: what counts as a picture in a folder.

    Raises:
        ConfigError: a list cannot be read.
    """
    files: list[tuple[str, str]] = []
    skipped: list[tuple[str, Kind]] = []
    errors: list[str] = []
    named = [one for path in paths for one in _expanded(path)]
    named += [line for file in lists for line in _lines(file)]
    for path in named:
        try:
            found = look(path, policy)
        except ImageRejected as error:
            errors.append(str(error))
            continue
        alone = len(named) == 1 and found.sources != (path,)
        files += [(source, place_of(source, path if alone else "")) for source in found.sources]
        skipped += found.skipped
        errors += map(str, found.unreadable)
    return Inputs(tuple(files), tuple(skipped), tuple(errors))


def read_entries(
    file: tuple[str, str],
    column: str,
    policy: IntakePolicy,
    known: Callable[[str], bool],
    skip: Callable[[str, Kind], None] = lambda name, kind: None,
) -> Iterator[Entry]:
    """The entry of a file, or those of a table or an archive.

    Args:
        file: its path, and the place of its cleaned copy.
        column: of a table, with the pictures.
        policy: what counts as a picture, and how large it may be.
        known: whether an entry of this source is done, so that it need not be read.
        skip: called with the name and the kind of each member of an archive that is not scanned.

    Raises:
        ConfigError: a table has no such column, or what reads tables is not installed.
    """
    path, place = file
    if is_table(path):
        return table_entries(path, place + PARTS, column, policy, known)
    if is_tar(path):
        return tar_entries(path, place + PARTS, policy, known, skip)
    return iter((Entry(path, place),))


def from_stdin(entry: Entry, policy: IntakePolicy) -> Entry:
    """The entry with the bytes of standard input, which is one picture."""
    if sys.stdin is None:
        return replace(entry, error="it is closed.")
    # One byte over the cap, so that what is too long is rejected as such.
    return replace(entry, data=sys.stdin.buffer.read(policy.max_bytes + 1))


def _expanded(path: str) -> list[str]:
    """The files of a pattern, in order; a path that exists is no pattern."""
    if path != STDIN and os.path.lexists(path):
        return [as_path(path)]
    if not has_name(path) or not glob.has_magic(path):
        return [path]
    return sorted(map(as_path, glob.glob(path, recursive=True))) or [path]


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise ConfigError(
            f"Cannot read the list {file}: {error.strerror}.", remedy="Check its path."
        ) from error
    lines = [line for line in text.splitlines() if line.strip()]
    return [as_path(line) if os.path.lexists(line) else line for line in lines]


def place_of(source: str, folder: str = "") -> str:
    """Where the copy of a file goes: below the folder named, or by its whole path.

    Args:
        source: the input.
        folder: that was named alone; "" = none was.
    """
    if not has_name(source):
        return "image"
    if folder:
        return os.path.relpath(source, folder)
    # Two slashes at the beginning are a root as well, which would lead out of the folder.
    path = PurePath(source)
    parts = path.parts[1:] if path.anchor else path.parts
    return str(PurePath(*("up" if part == ".." else part for part in parts)))
