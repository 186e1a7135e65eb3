"""What a PATH argument names: a file, or the pictures in a folder, recognised by their content."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from guardalign_middleware.bulk.names import STDIN, as_path
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake.formats import begins_as_other_picture, begins_as_picture
from guardalign_middleware.intake.pdf import is_pdf

SUFFIXES = frozenset(
    ".apng .avif .bmp .gif .heic .heif .jfif .jpe .jpeg .jpg .png .tif .tiff .webp".split()
)
"""What claims to be a picture is taken as one even if it is damaged: it could not be scanned."""

Kind = Literal["picture", "format", "pdf", "other", "link", "special", "column"]

UNSCANNED: frozenset[Kind] = frozenset({"format", "pdf"})
"""Pictures that are skipped: whatever holds them, its cleaned copy does not."""

HEAD = 2_048
"""Bytes that tell what a file is."""

_MOST_NAMED = 20
_SKIPPED: dict[Kind, str] = {
    "other": "not pictures",
    "format": "pictures in formats that no model takes, such as icons",
    "pdf": "PDF files, scanned where the preset says intake.pdf: pages",
    "link": "links to folders, or to nothing",
    "special": "not regular files",
    "column": "pictures in other columns, empty in the cleaned copy; scan them with --column",
}


@dataclass(frozen=True)
class Found:
    """What there is below a PATH argument.

    Attributes:
        sources: inputs to be scanned.
        skipped: other files, with their kind.
        unreadable: an error for each folder that could not be read.
    """

    sources: tuple[str, ...]
    skipped: tuple[tuple[str, Kind], ...] = ()
    unreadable: tuple[ImageRejected, ...] = ()


def look(path: str, policy: IntakePolicy) -> Found:
    """The file itself, or all pictures below a folder, whatever their names.

    Links to folders are not followed.

    Raises:
        ImageRejected: the path is empty, or the folder has no picture at any depth; unscanned is
            not "all allowed".
    """
    if not path:
        raise ImageRejected(
            "The path is empty.",
            reason="not_found",
            remedy="Check the variable it came from; the current folder is a dot.",
        )
    if path == STDIN or not os.path.isdir(path):
        return Found((path,))
    sources: list[str] = []
    skipped: list[tuple[str, Kind]] = []
    unreadable: list[ImageRejected] = []
    for folder, folders, names in os.walk(
        path, onerror=lambda one: unreadable.append(_closed(one))
    ):
        skipped += [
            (str(Path(folder, name)), "link")
            for name in folders
            if os.path.islink(os.path.join(folder, name))
        ]
        for name in names:
            file = as_path(str(Path(folder, name)))
            kind = _kind(file, policy)
            if kind == "picture":
                sources.append(file)
            else:
                skipped.append((file, kind))
    if not sources and not unreadable:
        raise ImageRejected(
            f"The folder {path} contains no image file.",
            reason="is_directory",
            source=path,
            remedy=f"Its {len(skipped)} other files were skipped: {_counted(skipped)}."
            if skipped
            else "It is empty.",
        )
    return Found(tuple(sorted(sources)), tuple(sorted(skipped)), tuple(unreadable))


def expand(path: str, policy: IntakePolicy) -> list[str]:
    """The sources of `look`.

    Raises:
        ImageRejected: as `look`; or a folder at any depth cannot be read.
    """
    found = look(path, policy)
    for error in found.unreadable:
        raise error
    return list(found.sources)


class Skipped:
    """Counts what is not scanned, and keeps some of the names.

    Args:
        files: their names and kinds.
    """

    def __init__(self, files: Iterable[tuple[str, Kind]] = ()) -> None:
        self._counts: Counter[Kind] = Counter()
        self._names: dict[Kind, list[str]] = {}
        for name, kind in files:
            self.add(name, kind)

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, name: str, kind: Kind) -> None:
        """Count one file."""
        self._counts[kind] += 1
        names = self._names.setdefault(kind, [])
        if len(names) < _MOST_NAMED:
            names.append(name)

    def update(self, other: Skipped) -> None:
        """Count the files of another count as well."""
        self._counts += other._counts
        for kind, names in other._names.items():
            mine = self._names.setdefault(kind, [])
            mine += names[: _MOST_NAMED - len(mine)]

    def lines(self) -> Iterator[str]:
        """One line for each kind, with the number and the names."""
        for kind, label in _SKIPPED.items():
            count, names = self._counts[kind], self._names.get(kind, [])
            if count:
                more = count - len(names)
                rest = f" and {more:,} more" if more > 0 else ""
                yield f"skipped {count:,} ({label}): {', '.join(names)}{rest}"


def kind_of(name: str, head: Callable[[], bytes], policy: IntakePolicy) -> Kind:
    """What a file is: a picture, one that is not scanned, or something else.

    Args:
        name: of the file; what claims to be a picture is one.
        head: reads its first `HEAD` bytes; asked for if the name does not tell.
        policy: what counts as a picture.
    """
    claims = os.path.splitext(name)[1].lower()
    if claims in SUFFIXES or (claims == ".pdf" and policy.pdf == "pages"):
        return "picture"
    data = head()
    if begins_as_picture(data, policy):
        return "picture"
    if begins_as_other_picture(data):
        return "format"
    if is_pdf(data):
        return "picture" if policy.pdf == "pages" else "pdf"
    return "other"


def _counted(skipped: Sequence[tuple[str, Kind]]) -> str:
    counts = Counter(kind for _, kind in skipped)
    return "; ".join(f"{count:,} {_SKIPPED[kind]}" for kind, count in counts.items())


def _kind(path: str, policy: IntakePolicy) -> Kind:
    try:
        return kind_of(path, lambda: _head(path), policy)
    except _NotRegular:
        return "special"
    except OSError:
        # A file that cannot be read may be a picture, which loading it will report.
        return "link" if os.path.islink(path) else "picture"


class _NotRegular(Exception):
    """A pipe or a device, which reading could wait for without an end."""


def _head(path: str) -> bytes:
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise _NotRegular
    with open(path, "rb") as file:
        return file.read(HEAD)


def _closed(error: OSError) -> ImageRejected:
    return ImageRejected(
        f"The folder {error.filename} cannot be read ({error.strerror}).",
        reason="unreadable",
        source=str(error.filename),
        remedy="Check its permissions, or name the folders to scan.",
    )
