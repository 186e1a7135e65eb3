"""Which weight files a model was loaded from: their digests, and the check against pins.

Hashing a file of a 7B model takes seconds, so each file is hashed once and only on demand: a pinned
file before it is opened, any other when its digest is first read. In the latter case its device,
inode, size and modification time must still be those noted at loading; otherwise reading the digest
is an error. A user with write access can forge all four; pins protect against that, because they
are compared with the bytes themselves.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from guardalign_middleware.errors import ModelLoadError


@dataclass(frozen=True)
class WeightFile:
    """A weight file in the state in which it was noted.

    Attributes:
        path: its location.
        state: device, inode, size in bytes and modification time in ns. Equal path and state mean
            the same, unchanged file.
    """

    path: Path
    state: tuple[int, int, int, int]

    @classmethod
    def note(cls, path: Path) -> Self:
        """Record the state of a file without reading it.

        Raises:
            ModelLoadError: there is no such file.
        """
        try:
            return cls(path, _state(path.stat()))
        except OSError as error:
            raise _unreadable(path, error) from error

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the bytes, computed on first use.

        Raises:
            ModelLoadError: the file cannot be read, or has changed since it was noted.
        """
        try:
            with self.path.open("rb") as file:
                before = _state(os.fstat(file.fileno()))
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                after = _state(os.fstat(file.fileno()))
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if not self.state == before == after:
            raise ModelLoadError(
                f"The weight file {self.path} was changed after it was loaded, so the weights in "
                "use are unknown.",
                remedy="Load the model again, and do not modify the files of a model in use.",
            )
        return digest


@dataclass(frozen=True)
class Provenance:
    """Where the weights of a model come from.

    Attributes:
        model: name of the directory, or the hub id.
        revision: commit on the hub; None for a directory.
        weights: the weight files.
    """

    model: str
    revision: str | None
    weights: tuple[WeightFile, ...]

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of each weight file by file name; errors are those of `WeightFile.sha256`."""
        return digests(self.weights)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; errors are those of `WeightFile.sha256`."""
        return {"model": self.model, "revision": self.revision, "files": self.files}


def note_files(paths: Iterable[Path], known: Sequence[WeightFile] = ()) -> tuple[WeightFile, ...]:
    """Note weight files in the order of their names, reusing the digests of known ones.

    Raises:
        ModelLoadError: a file does not exist.
    """
    kept = {file: file for file in known}
    return tuple(kept.get(file, file) for file in map(WeightFile.note, sorted(paths)))


def digests(files: Iterable[WeightFile]) -> dict[str, str]:
    """SHA-256 of files by their names.

    Raises:
        ModelLoadError: as `WeightFile.sha256`, or two files share a name.
    """
    by_name: dict[str, WeightFile] = {}
    for file in files:
        other = by_name.setdefault(file.path.name, file)
        if other.path != file.path:
            raise ModelLoadError(
                f"{other.path} and {file.path} share a name, so a digest would be ambiguous.",
                remedy="Pin files that lie in the model's folder itself.",
            )
    return {name: file.sha256 for name, file in by_name.items()}


def digest_files(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files, hexadecimal, by their names in order.

    Raises:
        ModelLoadError: a file cannot be read, or two share a name.
    """
    return digests(note_files(paths))


def check_pins(found: Mapping[str, str], pins: Mapping[str, str], model: str) -> None:
    """Refuse weights that are not exactly the pinned files; without pins, accept any.

    Raises:
        ModelLoadError: a file differs, is missing, or is not among the pins.
    """
    if not pins:
        return
    problems = [
        f"{name} {_difference(found.get(name), pins.get(name))}"
        for name in sorted({*found, *pins})
        if found.get(name) != pins.get(name)
    ]
    if problems:
        raise ModelLoadError(
            f"The weights of {model} are not the pinned ones: {'; '.join(problems[:5])}.",
            remedy="Get the pinned files. If you trust the new ones, put their sha256sum into the "
            "preset.",
        )


def _difference(found: str | None, pin: str | None) -> str:
    if found is None:
        return "is missing"
    return "is not pinned" if pin is None else "has a different SHA-256"


def _state(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _unreadable(path: Path, error: OSError) -> ModelLoadError:
    return ModelLoadError(
        f"The weight file {path} cannot be read: {error.strerror}.",
        remedy="Check the path and its permissions.",
    )
