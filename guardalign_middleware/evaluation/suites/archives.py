"""Pictures in archives, as authors publish them: read in place, and never unpacked."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from guardalign_middleware.evaluation.suites.place import Place


@dataclass(frozen=True)
class ArchiveMember:
    """A file in a zip or an uncompressed tar archive, read when it is needed.

    Attributes:
        path: of the archive.
        name: of the file in it.
        start: its first byte in a tar archive; None for a zip archive.
        size: in bytes.
    """

    path: Path
    name: str
    start: int | None
    size: int

    def read_bytes(self) -> bytes:
        """The file.

        Raises:
            OSError: the archive is gone, or another one than it was.
        """
        if self.start is None:
            try:
                with zipfile.ZipFile(self.path) as archive:
                    data = archive.read(self.name)
            except (zipfile.BadZipFile, KeyError) as error:
                raise OSError(f"{self.path} has no sound file {self.name}.") from error
        else:
            with self.path.open("rb") as file:
                file.seek(self.start)
                data = file.read(self.size)
        if len(data) != self.size:
            raise OSError(f"{self.path} has another file {self.name} than it had.")
        return data


def members(place: Place, path: Path) -> Mapping[str, ArchiveMember]:
    """The files of an archive by their names.

    Raises:
        SuiteError: it is damaged, or a compressed tar archive.
    """
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                return {
                    one.filename: ArchiveMember(path, one.filename, None, one.file_size)
                    for one in archive.infolist()
                    if not one.is_dir()
                }
        with tarfile.open(path, "r:") as tar:
            files = [one for one in tar if one.isfile()]
        return {
            one.name.removeprefix("./"): ArchiveMember(path, one.name, one.offset_data, one.size)
            for one in files
        }
    except (OSError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise place.error(
            f"{path} is no sound archive: {type(error).__name__}.", "Fetch it again."
        ) from error


def archived_pictures(
    place: Place, path: Path, names: Sequence[str], folders: Sequence[str]
) -> tuple[ArchiveMember, ...]:
    """Pictures of an archive.

    Args:
        place: of the suite.
        path: of the archive.
        names: of the pictures, in the records of the suite.
        folders: within the archive that they may be relative to; "" = its top.

    Raises:
        SuiteError: the archive is damaged, or lacks some of them.
    """
    held = members(place, path)
    starts = [f"{folder}/" if folder else "" for folder in folders]
    start = next((one for one in starts if f"{one}{names[0]}" in held), starts[0])
    missing = [
        name for name in names if f"{start}{name}" not in held or not held[start + name].size
    ]
    if missing:
        raise place.error(
            f"{len(missing)} of {len(names)} pictures are missing in {path}, the first is "
            f"{missing[0]}.",
            "A part of a suite is not the suite: fetch the archive again.",
        )
    return tuple(held[start + name] for name in names)
