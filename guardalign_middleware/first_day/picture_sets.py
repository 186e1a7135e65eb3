"""Pictures to fit a threshold on: folders of your own, and public sets in their published layouts.

A set is named `KIND:PLACE`, or by the path of a folder alone. A set that is labelled gives its safe
or its unsafe pictures, as it is asked.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from guardalign_middleware.bulk.folders import expand
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ConfigError, ImageRejected
from guardalign_middleware.evaluation.suites.cells import TableCell
from guardalign_middleware.evaluation.suites.rows import PICTURE, table_columns, table_rows
from guardalign_middleware.model_folder.hub import ask_hub, download

Side = Literal["safe", "unsafe"]

_COCO = re.compile(r"(COCO_(train|val)20\d\d_)?\d{12}\.jpg")
_COCO_COUNTS = {"val2017": 5000, "val2014": 40_504}
_COLUMNS = ("image", "img", "picture")


@dataclass(frozen=True)
class Picture:
    """A picture of a set, not read yet.

    Attributes:
        name: in messages and on the contact sheet.
        source: where its file is.
    """

    name: str
    source: Path | TableCell

    @property
    def place(self) -> str | TableCell:
        """Equal for pictures that are the same file or cell, however they were named."""
        return os.path.realpath(self.source) if isinstance(self.source, Path) else self.source

    @property
    def file(self) -> Path:
        """Where its bytes are: its own file, or the table that holds it."""
        return self.source if isinstance(self.source, Path) else Path(self.source.path)

    def read(self) -> str | bytes:
        """What `load_image` takes.

        Raises:
            ImageRejected: the table that holds it is gone, or another one than it was.
        """
        if isinstance(self.source, Path):
            return str(self.source)
        try:
            return self.source.read_bytes()
        except (OSError, ValueError, IndexError) as error:
            raise ImageRejected(
                f"The table {self.source.path} cannot be read any more: {error}.",
                reason="unreadable",
                source=self.name,
                remedy="Leave the files of the set as they are, and run the command again.",
            ) from error


@dataclass(frozen=True)
class PictureSet:
    """A set of pictures of one side.

    Attributes:
        name: as it was asked for.
        title: as people know it.
        licence: under which it may be used, and what else to know before it is.
        pictures: in order.
    """

    name: str
    title: str
    licence: str
    pictures: tuple[Picture, ...]

    def some(self, most: int | None, seed: int) -> PictureSet:
        """At most so many pictures, drawn by a seed, in the order of the set."""
        if most is None or len(self.pictures) <= most:
            return self
        drawn = sorted(random.Random(seed).sample(range(len(self.pictures)), most))
        chosen = tuple(self.pictures[number] for number in drawn)
        return PictureSet(self.name, self.title, self.licence, chosen)


def open_set(name: str, side: Side, policy: IntakePolicy) -> PictureSet:
    """Find the pictures of a set; nothing is decoded.

    Args:
        name: a path, or `coco:`, `unsafebench:`, `holisafe:` or `hub:` with a place.
        side: which of its pictures.
        policy: what counts as a picture in a folder.

    Raises:
        ConfigError: the place does not have the layout of the set, or no picture of this side.
        ImageRejected: a folder cannot be read, or has no picture.
        HubError: a data set of the hub cannot be had.
    """
    kind, colon, place = name.partition(":")
    if not colon or kind not in _KINDS:
        pictures = tuple(Picture(str(path), path) for path in map(Path, expand(name, policy)))
        return PictureSet(name, name, "your own, or as its owner says", pictures)
    found = _KINDS[kind](place, side, policy)
    if not found.pictures:
        raise ConfigError(
            f"{name} has no {side} pictures.",
            remedy=f"Use it for --{'unsafe' if side == 'safe' else 'safe'}, or another set.",
        )
    return found


def _coco(place: str, side: Side, policy: IntakePolicy) -> PictureSet:
    if side == "unsafe":
        raise ConfigError(
            "COCO has no unsafe pictures.", remedy="Use it for --safe, and another for --unsafe."
        )
    folder = _folder(place)
    split = next((name for name in _COCO_COUNTS if (folder / name).is_dir()), folder.name)
    pictures = folder / split if (folder / split).is_dir() else folder
    names = sorted(path for path in pictures.glob("*.jpg") if _COCO.fullmatch(path.name))
    if not names:
        raise ConfigError(
            f"{folder} has no pictures of COCO.",
            remedy="Unpack val2017.zip from https://cocodataset.org, and name the folder that "
            "holds val2017, or val2017 itself.",
        )
    expected = _COCO_COUNTS.get(split)
    part = f"; {len(names):,} of {expected:,}" if expected and len(names) != expected else ""
    note = (
        "pictures: each under its own licence on Flickr, annotations: CC-BY-4.0. Everyday "
        f"photographs, with knives and scissors among them{part}"
    )
    found = tuple(Picture(path.name, path) for path in names)
    return PictureSet(f"coco:{place}", f"COCO {split}", note, found)


def _unsafebench(place: str, side: Side, policy: IntakePolicy) -> PictureSet:
    tables = _TableSet("UnsafeBench", _folder(place))
    labels = {"safety_label": side.capitalize()}
    found, empty = tables.pictures(tables.files(), "image", labels)
    note = (
        "gated on the hub, for research only (accept its terms at "
        "https://huggingface.co/datasets/yiting/UnsafeBench). It shows what its labels say"
        f"{empty}"
    )
    return PictureSet(f"unsafebench:{place}", f"UnsafeBench, {side}", note, found)


def _holisafe(place: str, side: Side, policy: IntakePolicy) -> PictureSet:
    folder = _folder(place)
    names = ("holisafe_bench.json", "data/holisafe_bench.json")
    records = next((folder / name for name in names if (folder / name).is_file()), None)
    if records is None:
        raise ConfigError(
            f"{folder} has no {names[0]}.",
            remedy="Fetch it with `hf download --repo-type dataset etri-vilab/holisafe-bench`.",
        )
    pictures: dict[str, Picture] = {}
    letter = side[0].upper()
    try:
        for row in json.loads(records.read_text(encoding="utf-8")):
            # Of a type such as SUU, the first letter is the picture's, then the question's.
            if not str(row["type"]).startswith(letter) or row["image"] in pictures:
                continue
            places = (folder / "images", records.parent, folder)
            path = next(
                (one / row["image"] for one in places if (one / row["image"]).is_file()), None
            )
            if path is None:
                raise ConfigError(
                    f"The picture {row['image']} of {records} is missing.",
                    remedy="Get the complete data set.",
                )
            pictures[row["image"]] = Picture(row["image"], path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{records} does not hold the records of HoliSafe: {error!r}.",
            remedy="Get the file again.",
        ) from error
    note = "CC-BY-NC-4.0, gated on the hub: no commercial use. It shows what its labels say"
    found = tuple(pictures.values())
    return PictureSet(f"holisafe:{place}", f"HoliSafe, {side} pictures", note, found)


def _hub(place: str, side: Side, policy: IntakePolicy) -> PictureSet:
    """A data set of the hub: its tables with a column of pictures, or its picture files."""
    repository, _, revision = place.partition("@")
    about = ask_hub(repository, revision or None, kind="dataset")
    tables = [one.name for one in about.files if one.name.endswith(".parquet")]
    patterns = tables or ["*.jpg", "*.jpeg", "*.png", "*.webp"]
    folder = download(about, patterns, revision or None)
    licence = f"{about.licence or 'not declared'}, as its card on the hub says"
    title = f"{repository} at {about.revision[:12]}"
    if not tables:
        files = map(Path, expand(str(folder), policy))
        found = tuple(Picture(str(path), path) for path in files)
        return PictureSet(f"hub:{place}", title, licence, found)
    paths = [folder / name for name in tables]
    own = _TableSet(repository, folder)
    columns = table_columns(own, paths[0])
    column = next((one for one in _COLUMNS if one in columns), None)
    if column is None:
        raise ConfigError(
            f"{tables[0]} of {repository} has no column of pictures named {', '.join(_COLUMNS)}.",
            remedy="Save its pictures into a folder, and name that.",
        )
    found, empty = own.pictures(paths, column, {})
    return PictureSet(f"hub:{place}", title, f"{licence}{empty}", found)


_KINDS: Mapping[str, Callable[[str, Side, IntakePolicy], PictureSet]] = {
    "coco": _coco,
    "unsafebench": _unsafebench,
    "holisafe": _holisafe,
    "hub": _hub,
}


def _folder(place: str) -> Path:
    folder = Path(place).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {folder}.", remedy="Name the folder of the set.")
    return folder


@dataclass(frozen=True)
class _TableSet:
    """The tables of a set, as `table_rows` reads them.

    Attributes:
        title: of the set.
        folder: where they lie.
    """

    title: str
    folder: Path

    def error(self, message: str, remedy: str = "") -> ConfigError:
        """An error about them."""
        return ConfigError(
            f"{self.title}: {message}", remedy=remedy or "Get the files as they are published."
        )

    def files(self) -> list[Path]:
        """All tables of the folder.

        Raises:
            ConfigError: there is none.
        """
        found = sorted(self.folder.rglob("*.parquet"))
        if not found:
            raise ConfigError(
                f"{self.folder} has no tables of {self.title} (*.parquet).",
                remedy="Fetch it with `hf download --repo-type dataset` and its id, and name the "
                "folder.",
            )
        return found

    def pictures(
        self, paths: Sequence[Path], column: str, labels: Mapping[str, str]
    ) -> tuple[tuple[Picture, ...], str]:
        """The pictures of the rows with these labels, and what to know about the other rows.

        Raises:
            ConfigError: a file is damaged or lacks a column, or no such row holds a picture.
        """
        found, empty = [], 0
        for path in paths:
            rows = table_rows(self, [path], list(labels), [column], gaps=True)
            for number, row in enumerate(rows):
                if any(row[name] != label for name, label in labels.items()):
                    continue
                for cell in row[PICTURE]:
                    found.append(Picture(f"{path.name}#{number}", cell))
                empty += not row[PICTURE]
        if empty and not found:
            raise self.error(
                f"none of {empty} rows holds a picture in the column {column!r}.",
                "Columns of paths or URLs are not read. Save the pictures into a folder, and name "
                "that.",
            )
        return tuple(found), f"; {empty:,} rows without a picture are left out" if empty else ""
