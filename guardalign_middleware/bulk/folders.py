"""What a PATH argument names: a file, or the pictures in a folder, recognised by their content."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake.formats import begins_as_other_picture, begins_as_picture
from guardalign_middleware.intake.pdf import is_pdf

SUFFIXES = frozenset(
    ".apng .avif .bmp .gif .heic .heif .jfif .jpe .jpeg .jpg .png .tif .tiff .webp".split()
)
"""What claims to be a picture is taken as one even if it is damaged: it could not be scanned."""

Kind = Literal["picture", "format", "pdf", "other", "link", "special"]

STDIN = "-"

_HEAD = 2_048
_MOST_NAMED = 20
_SKIPPED: dict[Kind, str] = {
    "other": "not pictures",
    "format": "pictures in formats that no model takes, such as icons",
    "pdf": "PDF files, scanned where the preset says intake.pdf: pages",
    "link": "links to folders, or to nothing",
    "special": "not regular files",
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
            file = str(Path(folder, name))
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


def described(skipped: Sequence[tuple[str, Kind]]) -> Iterator[str]:
    """Count and name what is not scanned, one line for each kind."""
    for kind, label in _SKIPPED.items():
        names = [name for name, of_kind in skipped if of_kind == kind]
        if names:
            shown = ", ".join(names[:_MOST_NAMED])
            more = len(names) - _MOST_NAMED
            rest = f" and {more:,} more" if more > 0 else ""
            yield f"skipped {len(names):,} ({label}): {shown}{rest}"


def _counted(skipped: Sequence[tuple[str, Kind]]) -> str:
    counts = Counter(kind for _, kind in skipped)
    return "; ".join(f"{count:,} {_SKIPPED[kind]}" for kind, count in counts.items())


def _kind(path: str, policy: IntakePolicy) -> Kind:
    claims = os.path.splitext(path)[1].lower()
    if claims in SUFFIXES or (claims == ".pdf" and policy.pdf == "pages"):
        return "picture"
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return "special"
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except OSError:
        # A file that cannot be read may be a picture, which loading it will report.
        return "link" if os.path.islink(path) else "picture"
    if begins_as_picture(head, policy):
        return "picture"
    if begins_as_other_picture(head):
        return "format"
    if is_pdf(head):
        return "picture" if policy.pdf == "pages" else "pdf"
    return "other"


def _closed(error: OSError) -> ImageRejected:
    return ImageRejected(
        f"The folder {error.filename} cannot be read ({error.strerror}).",
        reason="unreadable",
        source=str(error.filename),
        remedy="Check its permissions, or name the folders to scan.",
    )
