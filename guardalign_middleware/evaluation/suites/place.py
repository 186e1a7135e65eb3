"""Where the files of a suite lie: in a clone, or in a snapshot or the cache of the hub."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from guardalign_middleware.errors import SuiteError
from guardalign_middleware.evaluation.suites.manifest import Manifest

_SHOWN = 3
_SHARD = re.compile(r"-(?P<number>\d{5})-of-(?P<count>\d{5})")


@dataclass(frozen=True)
class Place:
    """The folders in which the files of one suite are looked for.

    Attributes:
        manifest: of the suite.
        folder: as the user named it.
        roots: it, and what it holds of the suite's data set on the hub.
    """

    manifest: Manifest
    folder: Path
    roots: tuple[Path, ...]

    @classmethod
    def of(cls, manifest: Manifest, folder: Path | None) -> Place:
        """Look for snapshots of the hub in a folder.

        Raises:
            SuiteError: none is named, there is no such folder, or its cache has several snapshots
                and does not say which is the present one.
        """
        if folder is None or not folder.is_dir():
            raise SuiteError(
                "no folder is named." if folder is None else f"there is no folder {folder}.",
                suite=manifest.name,
                remedy=_where(manifest),
            )
        return cls(manifest, folder, (folder, *_snapshots(manifest, folder)))

    def find(self, *names: str) -> Path | None:
        """The first of these files or folders that is there, else None.

        Args:
            names: paths within the published folder. A leading "data/" may be the folder itself.
        """
        for root in self.roots:
            for name in names:
                for form in (name, name.removeprefix("data/")):
                    if (root / form).exists():
                        return root / form
        return None

    def file(self, *names: str) -> Path:
        """The first of these files or folders that is there.

        Raises:
            SuiteError: none is.
        """
        found = self.find(*names)
        if found is None:
            looked = " or ".join(names)
            raise self.error(f"{self.folder} has no {looked}.", _where(self.manifest))
        return found

    def shards(self, *patterns: str) -> tuple[Path, ...]:
        """The files of the first pattern that any file matches.

        Raises:
            SuiteError: none does, or shards are missing, which are named "-00001-of-00003".
        """
        for root in self.roots:
            for pattern in patterns:
                found = sorted(root.glob(pattern))
                if found:
                    return self._whole(found)
        raise self.error(f"{self.folder} has no {' or '.join(patterns)}.", _where(self.manifest))

    def _whole(self, found: list[Path]) -> tuple[Path, ...]:
        parts = [_SHARD.search(path.stem) for path in found]
        numbers = {int(part["number"]) for part in parts if part}
        count = max((int(part["count"]) for part in parts if part), default=0)
        missing = sorted(set(range(count)) - numbers)
        if missing:
            at = found[0].parent
            raise self.error(f"shard {missing[0]} of {count} is missing in {at}.", "Fetch it.")
        return tuple(found)

    def pictures(self, paths: Iterable[Path]) -> tuple[Path, ...]:
        """Pass on paths of pictures.

        Raises:
            SuiteError: some are not there, or empty; the message counts them and names the first.
        """
        every = tuple(paths)
        different = tuple(dict.fromkeys(every))
        missing = [path for path in different if not path.is_file() or not path.stat().st_size]
        if missing:
            names = ", ".join(path.name for path in missing[:_SHOWN])
            more = ", …" if len(missing) > _SHOWN else ""
            raise self.error(
                f"{len(missing)} of {len(different)} pictures are missing in {missing[0].parent}: "
                f"{names}{more}.",
                "A part of a suite is not the suite: fetch all of its pictures.",
            )
        return every

    def named(self, folder: Path, names: Iterable[str]) -> tuple[Path, ...]:
        """The pictures that records name, in a folder.

        Raises:
            SuiteError: as for `pictures`; or a name leads out of the folder.
        """
        every = tuple(names)
        for name in every:
            path = Path(name)
            if path.is_absolute() or ".." in path.parts:
                raise self.error(
                    f"a record names the picture {name!r}, outside {folder}.",
                    "Such a file is not what the authors published.",
                )
        return self.pictures(folder / name for name in every)

    def check_count(self, split: str, rows: int, path: Path) -> None:
        """Compare a number of rows with the published one.

        Raises:
            SuiteError: they differ.
        """
        published = self.manifest.counts[split]
        if rows != published:
            raise self.error(
                f"{path} has {rows} rows, and the split {split!r} as published has {published}.",
                "Fetch the file again; mirrors often lack rows or the header.",
            )

    def split(self, name: str | None) -> str:
        """The split to load.

        Raises:
            SuiteError: there is none of this name.
        """
        if name is None:
            return self.manifest.split
        if name not in self.manifest.counts:
            known = ", ".join(self.manifest.counts)
            raise self.error(f"there is no split {name!r}.", f"Its splits are: {known}.")
        return name

    def error(self, message: str, remedy: str = "") -> SuiteError:
        """An error of this suite."""
        return SuiteError(message, suite=self.manifest.name, remedy=remedy)


def _where(manifest: Manifest) -> str:
    hub = f", or from the hub: {manifest.hub[0]}" if manifest.hub else ""
    return f"Fetch the files from {manifest.source}{hub}."


def _snapshots(manifest: Manifest, folder: Path) -> Iterator[Path]:
    """What the folder holds of the data set, under its present or an older id."""
    for name in manifest.hub:
        if (folder / name).is_dir():
            yield folder / name
        for cache in (folder, folder / "hub", folder / "datasets"):
            stored = cache / f"datasets--{name.replace('/', '--')}"
            if (stored / "snapshots").is_dir():
                yield _present(manifest, stored)


def _present(manifest: Manifest, stored: Path) -> Path:
    reference = stored / "refs" / "main"
    if reference.is_file():
        revision = reference.read_text(encoding="utf-8").strip()
        if (stored / "snapshots" / revision).is_dir():
            return stored / "snapshots" / revision
    found = sorted((stored / "snapshots").iterdir())
    if len(found) != 1:
        raise SuiteError(
            f"{stored} has {len(found)} snapshots, and no main of them.",
            suite=manifest.name,
            remedy="Give the folder of one snapshot.",
        )
    return found[0]
