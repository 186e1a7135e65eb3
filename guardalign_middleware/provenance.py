"""Which weight files a model was made of: their digests, and the refusal of any others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guardalign_middleware.errors import ModelLoadError


@dataclass(frozen=True)
class Provenance:
    """Where the weights of a model are from.

    Attributes:
        model: name of the directory, or the hub id.
        revision: the commit of the hub; None for a directory.
        files: SHA-256 of each weight file, hexadecimal, by file name.
    """

    model: str
    revision: str | None
    files: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"model": self.model, "revision": self.revision, "files": dict(self.files)}


def digest_files(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files, hexadecimal, by their names in order.

    Raises:
        ModelLoadError: a file cannot be read.
    """
    digests = {}
    for path in sorted(paths):
        try:
            with path.open("rb") as file:
                digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ModelLoadError(
                f"The weight file {path} cannot be read: {error.strerror}.",
                remedy="Check the path and its permissions.",
            ) from error
    return digests


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
