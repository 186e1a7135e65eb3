"""Which weight files a model was made of: their digests, and the refusal of any others.

A file of a 7B model takes seconds to hash, so it is hashed once, and only when somebody needs to
know: before it is opened where it is pinned, else when its digest is first read. In the second case
the file must still be the one that was noted when the model was loaded, by device, inode, size and
time of the last change; otherwise there is an error and no digest. Whoever may write the file can
forge all four; against that there are pins, which are compared with the bytes themselves.
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
    """A weight file as it was when it was noted.

    Attributes:
        path: where it is.
        state: device, inode, size in bytes, and time of the last change in ns. Two that are equal
            in path and state are the same file, unchanged.
    """

    path: Path
    state: tuple[int, int, int, int]

    @classmethod
    def note(cls, path: Path) -> Self:
        """Take down the state of a file; nothing is read.

        Raises:
            ModelLoadError: there is no such file.
        """
        try:
            return cls(path, _state(path.stat()))
        except OSError as error:
            raise _unreadable(path, error) from error

    @cached_property
    def sha256(self) -> str:
        """Digest of the bytes, hexadecimal; read on first use.

        Raises:
            ModelLoadError: the file cannot be read, or is not as it was noted any more.
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
                f"The weight file {self.path} was changed after it was loaded, so nobody knows "
                "which weights run.",
                remedy="Load the model again, and write to no file of a model in use.",
            )
        return digest


@dataclass(frozen=True)
class Provenance:
    """Where the weights of a model are from.

    Attributes:
        model: name of the directory, or the hub id.
        revision: the commit of the hub; None for a directory.
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
    """Note weight files in the order of their names; one that is known already is taken as known.

    Raises:
        ModelLoadError: a file is not there.
    """
    kept = {file: file for file in known}
    return tuple(kept.get(file, file) for file in map(WeightFile.note, sorted(paths)))


def digests(files: Iterable[WeightFile]) -> dict[str, str]:
    """SHA-256 of files by their names; errors are those of `WeightFile.sha256`."""
    return {file.path.name: file.sha256 for file in files}


def digest_files(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files, hexadecimal, by their names in order.

    Raises:
        ModelLoadError: a file cannot be read.
    """
    return digests(note_files(paths))


def check_pins(found: Mapping[str, str], pins: Mapping[str, str], model: str) -> None:
    """Refuse weights that are not exactly the pinned files; without pins everything passes.

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
            remedy="Get the files that were pinned. Only if the new ones are trusted, write their "
            "sha256sum into the preset.",
        )


def _difference(found: str | None, pin: str | None) -> str:
    if found is None:
        return "is missing"
    return "is not pinned" if pin is None else "has another SHA-256"


def _state(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _unreadable(path: Path, error: OSError) -> ModelLoadError:
    return ModelLoadError(
        f"The weight file {path} cannot be read: {error.strerror}.",
        remedy="Check the path and its permissions.",
    )
