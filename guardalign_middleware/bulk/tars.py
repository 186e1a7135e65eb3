"""Archives of pictures as webdataset writes them: a member for each picture and each caption."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Literal, TypeVar

from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.folders import HEAD, UNSCANNED, Kind, kind_of
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.writing import replaced

_MODES: dict[str, Literal["w", "w:gz", "w:bz2", "w:xz"]] = {
    ".tar": "w",
    ".tar.gz": "w:gz",
    ".tgz": "w:gz",
    ".tar.bz2": "w:bz2",
    ".tar.xz": "w:xz",
}
_DAMAGE = (
    OSError,
    EOFError,
    # tarfile does not wrap these: decompression errors, bad header numbers, long chains of headers.
    ValueError,
    OverflowError,
    IndexError,
    RecursionError,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
)
_CHUNK = 1 << 20
_IN_MEMORY = 8 << 20
_T = TypeVar("_T")


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
    # What is no member's is named without one, such as damage.
    seen = Counter({"": 1})
    try:
        with tarfile.open(path) as archive:
            for number, member in enumerate(iter(partial(_next, archive), None)):
                kind = _kind(archive, member, policy)
                if kind != "picture":
                    if not member.isdir():
                        skip(f"{path}!{member.name}", kind)
                    continue
                source, where = f"{path}!{_new_name(member.name, seen)}", f"{place}/{number}"
                entry, size = Entry(source, where, shard=path), member.size
                read = partial(_bytes, archive, member, size)
                yield entry if known(source) else entry.holding(size, policy.max_bytes, read)
    except _DAMAGE as error:
        why = f"The archive cannot be read to its end: {_why(error)}."
        yield Entry(f"{path}!", place, error=why, shard=path)


def assemble_tar(
    path: str, parts: Mapping[int, Path], target: Path, policy: IntakePolicy
) -> str | None:
    """Write a copy of an archive with the cleaned pictures, and what is no picture as it is.

    Pictures without a cleaned copy, blocked or not scanned, are left out, also those in formats
    that are skipped, and so is all that lies behind damage.

    Args:
        path: of the original.
        parts: the cleaned pictures, by their number in the archive.
        target: the archive to write; it appears when it is complete.
        policy: what counts as a picture.

    Returns:
        Why the copy is short or missing, if the original is damaged; None = it is whole.

    Raises:
        ConfigError: it cannot be written.
    """
    mode = _mode(path) or "w"
    try:
        archive = _reading(lambda: tarfile.open(path))
    except _Damaged as error:
        return f"There is no copy of {path}, which cannot be read: {error}."
    with archive, replaced(target) as file, tarfile.open(fileobj=file, mode=mode) as copy:
        try:
            members = iter(partial(_reading, partial(_next, archive)), None)
            for number, member in enumerate(members):
                kind = _reading(partial(_kind, archive, member, policy))
                if kind == "picture":
                    if (part := parts.get(number)) is not None:
                        with part.open("rb") as cleaned:
                            _write(copy, member, part.stat().st_size, cleaned)
                elif kind not in UNSCANNED:
                    _add(copy, archive, member, target.parent)
        except _Damaged as error:
            return f"The copy {target} ends where {path} cannot be read: {error}."
    return None


class _Damaged(Exception):
    """The original cannot be read on, which is no error of what is written."""


def _reading(read: Callable[[], _T]) -> _T:
    """What a call gives that only reads the original."""
    try:
        return read()
    except _DAMAGE as error:
        raise _Damaged(_why(error)) from error


def _why(error: Exception) -> str:
    """What is wrong, without what each way of unpacking said."""
    return str(error).partition(":\n")[0] or type(error).__name__


def _next(archive: tarfile.TarFile) -> tarfile.TarInfo | None:
    """The next member; None at the end, for which `tarfile` takes a damaged header as well."""
    member = archive.next()
    if member is None:
        file = archive.fileobj
        assert file is not None
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError("bad header")
    elif member.size < 0 or archive.offset < member.offset_data:
        # It would be followed by itself, without an end.
        raise tarfile.ReadError("bad size")
    return member


def _add(
    copy: tarfile.TarFile, archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path
) -> None:
    """Copy a member that is no picture; one that is damaged leaves no half of it behind."""
    source = _reading(partial(archive.extractfile, member)) if member.isreg() else None
    if source is None:
        # What is no file has no data, whatever its header says; data of it was not looked at.
        _write(copy, member, 0)
        return
    with SpooledTemporaryFile(_IN_MEMORY, dir=str(folder)) as whole:
        while chunk := _reading(partial(source.read, _CHUNK)):
            whole.write(chunk)
        size = whole.tell()
        whole.seek(0)
        _write(copy, member, size, whole)


def _write(
    copy: tarfile.TarFile, member: tarfile.TarInfo, size: int, data: IO[bytes] | None = None
) -> None:
    """Write a member; one with numbers that no header can hold, such as a NaN, without them."""
    new = _resized(member, size)
    try:
        new.tobuf(copy.format, copy.encoding, copy.errors)
    except _DAMAGE:
        new = tarfile.TarInfo(member.name)
        new.type, new.linkname, new.mode, new.size = member.type, member.linkname, member.mode, size
        _reading(partial(new.tobuf, copy.format, copy.encoding, copy.errors))
    copy.addfile(new, data)


def _resized(member: tarfile.TarInfo, size: int) -> tarfile.TarInfo:
    """The header of a member that is written anew; what the old one says of its size goes."""
    member.size = size
    if member.isreg():
        member.type = tarfile.REGTYPE  # all of it is there, if it was a sparse file
    member.pax_headers = {
        name: value
        for name, value in member.pax_headers.items()
        # Keys that are no UTF-8 can be read and not written.
        if name != "size" and not name.startswith("GNU.sparse.") and name.isprintable()
    }
    return member


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
