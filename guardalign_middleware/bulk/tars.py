"""Archives of pictures as webdataset writes them: a member for each picture and each caption."""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.folders import HEAD, UNSCANNED, Kind, kind_of
from guardalign_middleware.bulk.writing import replaced
from guardalign_middleware.config import IntakePolicy

_MODES: dict[str, Literal["w", "w:gz", "w:bz2", "w:xz"]] = {
    ".tar": "w",
    ".tar.gz": "w:gz",
    ".tgz": "w:gz",
    ".tar.bz2": "w:bz2",
    ".tar.xz": "w:xz",
}
_DAMAGE = (OSError, EOFError, tarfile.TarError)


def is_tar(path: str) -> bool:
    """Whether a file is an archive by its name."""
    return _mode(path) is not None


def tar_entries(
    path: str,
    place: str,
    policy: IntakePolicy,
    known: Callable[[str], bool],
    skip: Callable[[str, Kind], None],
) -> Iterator[Entry]:
    """The pictures of an archive, in order; other members are not read.

    A member is a picture by its name or its first bytes, as a file in a folder is. A damaged
    archive gives an entry with the error after those that could be read.

    Args:
        path: of the archive.
        place: the folder for the cleaned copies of its pictures.
        policy: what counts as a picture, and how many bytes one may have.
        known: whether a picture of this name is done, so that its bytes are not needed.
        skip: called with the name and the kind of each member that is not scanned.
    """
    seen: Counter[str] = Counter()
    try:
        with tarfile.open(path) as archive:
            for number, member in enumerate(archive):
                kind = _kind(archive, member, policy)
                if kind != "picture":
                    if not member.isdir():
                        skip(f"{path}!{member.name}", kind)
                    continue
                source, where = f"{path}!{_new_name(member.name, seen)}", f"{place}/{number}"
                if known(source):
                    yield Entry(source, where, in_shard=True)
                else:
                    size = member.size
                    read = partial(_bytes, archive, member, size)
                    yield Entry.member(source, where, size, policy.max_bytes, read)
    except _DAMAGE as error:
        yield Entry(f"{path}!", place, error=f"The archive cannot be read to its end: {error}.")


def assemble_tar(path: str, parts: Path, target: Path, policy: IntakePolicy) -> None:
    """Write a copy of an archive with the cleaned pictures, and what is no picture as it is.

    Pictures without a cleaned copy, blocked or not scanned, are left out, also those in formats
    that are skipped, and so is all that lies behind damage.

    Args:
        path: of the original.
        parts: the folder with the cleaned pictures, by their number in the archive.
        target: the archive to write; it appears when it is complete.
        policy: what counts as a picture.

    Raises:
        ConfigError: it cannot be written.
    """
    mode = _mode(path) or "w"
    with replaced(target) as file, tarfile.open(fileobj=file, mode=mode) as copy:
        with suppress(tarfile.ReadError, EOFError), tarfile.open(path) as archive:
            for number, member in enumerate(archive):
                kind = _kind(archive, member, policy)
                if kind in UNSCANNED:
                    continue
                if kind != "picture":
                    copy.addfile(member, archive.extractfile(member) if member.isreg() else None)
                elif (part := parts / str(number)).exists():
                    member.size = part.stat().st_size
                    with part.open("rb") as cleaned:
                        copy.addfile(member, cleaned)


def _new_name(name: str, seen: Counter[str]) -> str:
    """The name of a member; with a number if another one has it, or was given it."""
    new = name
    while new in seen:
        seen[name] += 1
        new = f"{name}#{seen[name]}"
    seen[new] += 1
    return new


def _mode(path: str) -> Literal["w", "w:gz", "w:bz2", "w:xz"] | None:
    return next((mode for end, mode in _MODES.items() if path.lower().endswith(end)), None)


def _kind(archive: tarfile.TarFile, member: tarfile.TarInfo, policy: IntakePolicy) -> Kind:
    if not member.isreg():
        return "special"
    return kind_of(member.name, lambda: _bytes(archive, member, HEAD), policy)


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> bytes:
    file = archive.extractfile(member)
    return b"" if file is None else file.read(most)
