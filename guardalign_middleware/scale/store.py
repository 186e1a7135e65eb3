"""Results by the content of files: what was scanned once is not scanned again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from guardalign_middleware.errors import ConfigError


@dataclass(frozen=True)
class Kept:
    """What is known of a file.

    Attributes:
        records: a line of JSON for each of its pictures, as `guardalign scan` writes, without its
            name.
        cleaned: its cleaned copy; None = there is none, or none was made.
    """

    records: tuple[dict[str, Any], ...]
    cleaned: bytes | None = None


class ResultStore:
    """A folder with a file of results for each content, for any number of machines.

    A job that ends and begins again finds what it had. Files appear when they are complete, and two
    machines that scan the same content write the same.

    Args:
        place: a folder, or an address that pyarrow knows, such as "s3://bucket/folder".
        identity: of the guard and of what is done; results of others are not found.

    Raises:
        ConfigError: the place cannot be used.
    """

    def __init__(self, place: str, identity: str) -> None:
        from pyarrow import fs

        self._place, self._identity = place, identity
        try:
            self._files, root = fs.FileSystem.from_uri(place) if "://" in place else _local(place)
            self._root = f"{root.rstrip('/')}/{identity[:32]}"
            self._folders: set[str] = set()
            self._files.create_dir(self._root, recursive=True)
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error

    def get(self, digest: str) -> Kept | None:
        """What is known of a content; None = nothing.

        Args:
            digest: from `digest_of`.

        Raises:
            ConfigError: it cannot be read.
        """
        try:
            with self._files.open_input_stream(self._path(digest)) as file:
                head, _, cleaned = file.read().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error
        try:
            kept = json.loads(head)
            return Kept(tuple(kept["records"]), cleaned if kept["cleaned"] else None)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"The file {self._path(digest)} holds no result of a scan.",
                remedy="Remove it, or name another folder.",
            ) from error

    def put(self, digest: str, kept: Kept) -> None:
        """Keep what is known of a content.

        Raises:
            ConfigError: it cannot be written.
        """
        path = self._path(digest)
        head = {"records": kept.records, "cleaned": kept.cleaned is not None}
        data = json.dumps(head, allow_nan=False).encode() + b"\n" + (kept.cleaned or b"")
        draft = f"{path}.{uuid4().hex}"
        try:
            folder = path.rpartition("/")[0]
            if folder not in self._folders:
                self._files.create_dir(folder, recursive=True)
                self._folders.add(folder)
            with self._files.open_output_stream(draft) as file:
                file.write(data)
            self._files.move(draft, path)
        except OSError as error:
            raise self._unusable(error) from error

    def _path(self, digest: str) -> str:
        return f"{self._root}/{digest[:2]}/{digest}"

    def _unusable(self, error: Exception) -> ConfigError:
        return ConfigError(
            f"The results in {self._place} cannot be read or written: {error}",
            remedy="Name a folder that every machine can write, or an address that pyarrow knows.",
        )


def digest_of(data: bytes) -> str:
    """By which a content is known: the SHA-256 of the file."""
    return hashlib.sha256(data).hexdigest()


def _local(place: str) -> tuple[Any, str]:
    from pathlib import Path

    from pyarrow import fs

    return fs.LocalFileSystem(), str(Path(place).resolve())
