"""Pictures to fit a threshold on: folders of your own, and public sets in their published layouts.

A set is named `KIND:PLACE`, or by the path of a folder alone. A set that is labelled gives its safe
or its unsafe pictures, as it is asked.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from guardalign_middleware.bulk.folders import expand
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.suites.cells import TableCell, parquet
from guardalign_middleware.model_folder.hub import ask_hub, download

Side = Literal["safe", "unsafe"]

_COCO = re.compile(r"(COCO_(train|val)20\d\d_)?\d{12}\.jpg")
_COCO_COUNTS = {"val2017": 5000, "val2014": 40_504}
_COLUMNS = ("image", "img", "picture")
_SHARP = frozenset({"knife", "scissors", "baseball bat"})


@dataclass(frozen=True)
class Picture:
    """A picture of a set, not read yet.

    Attributes:
        name: in messages and on the contact sheet.
        source: where its file is.
        category: as the set labels it; "" = not at all.
    """

    name: str
    source: Path | TableCell
    category: str = ""

    def read(self) -> str | bytes:
        """What `load_image` takes.

        Raises:
            OSError: it is gone.
        """
        return self.source.read_bytes() if isinstance(self.source, TableCell) else str(self.source)


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
        paths = [Path(path) for path in expand(name, policy)]
        # Of a labelled folder, the names of its folders are the categories.
        root = Path(name)
        pictures = tuple(
            Picture(str(path), path, path.parent.name if path.parent != root else "")
            for path in paths
        )
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
    annotations = pictures.parent / "annotations" / f"instances_{split}.json"
    sharp = _with_sharp_things(annotations) if annotations.is_file() else {}
    note = (
        "pictures: each under its own licence on Flickr, annotations: CC-BY-4.0. Everyday "
        f"photographs, with knives and scissors among them{part}"
    )
    found = tuple(Picture(path.name, path, sharp.get(path.name, "")) for path in names)
    return PictureSet(f"coco:{place}", f"COCO {split}", note, found)


def _with_sharp_things(annotations: Path) -> dict[str, str]:
    """File → the thing in it that a guard may be meant to find."""
    try:
        value = json.loads(annotations.read_text(encoding="utf-8"))
        names = {one["id"]: one["name"] for one in value["categories"]}
        files = {one["id"]: one["file_name"] for one in value["images"]}
        return {
            files[one["image_id"]]: names[one["category_id"]]
            for one in value["annotations"]
            if names[one["category_id"]] in _SHARP
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{annotations} is not the file of COCO's instances: {error!r}.",
            remedy="Unpack annotations_trainval2017.zip again, or remove the file.",
        ) from error


def _unsafebench(place: str, side: Side, policy: IntakePolicy) -> PictureSet:
    columns = {"safety_label", "category"}
    rows = _rows(_tables(_folder(place), "UnsafeBench"), "image", columns)
    label = side.capitalize()
    found = tuple(
        Picture(name, cell, str(about["category"]))
        for name, cell, about in rows
        if about["safety_label"] == label
    )
    note = (
        "gated on the hub, for research only (accept its terms at "
        "https://huggingface.co/datasets/yiting/UnsafeBench). It shows what its labels say"
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
            pictures[row["image"]] = Picture(row["image"], path, str(row["category"]))
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
        found = tuple(Picture(str(path), path, path.parent.name) for path in files)
        return PictureSet(f"hub:{place}", title, licence, found)
    paths = [folder / name for name in tables]
    column = next((one for one in _COLUMNS if one in _schema(paths[0])), None)
    if column is None:
        raise ConfigError(
            f"{tables[0]} of {repository} has no column of pictures named {', '.join(_COLUMNS)}.",
            remedy="Save its pictures into a folder, and name that.",
        )
    rows = _rows(paths, column, set())
    return PictureSet(
        f"hub:{place}", title, licence, tuple(Picture(name, cell) for name, cell, _ in rows)
    )


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


def _tables(folder: Path, title: str) -> list[Path]:
    found = sorted(folder.rglob("*.parquet"))
    if not found:
        raise ConfigError(
            f"{folder} has no tables of {title} (*.parquet).",
            remedy="Fetch it with `hf download --repo-type dataset` and its id, and name the "
            "folder.",
        )
    return found


def _schema(path: Path) -> list[str]:
    try:
        with parquet().ParquetFile(path) as table:
            return list(table.schema_arrow.names)
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _rows(
    paths: Sequence[Path], column: str, labels: set[str]
) -> list[tuple[str, TableCell, dict[str, object]]]:
    """Name, picture and labels of every row with a picture, reading the labels only."""
    rows: list[tuple[str, TableCell, dict[str, object]]] = []
    for path in paths:
        missing = {column, *labels} - set(_schema(path))
        if missing:
            raise ConfigError(
                f"{path} has no column {', '.join(sorted(missing))}.",
                remedy="Get the files as they are published.",
            )
        try:
            with parquet().ParquetFile(path) as table:
                number = 0
                for group in range(table.num_row_groups):
                    count = table.metadata.row_group(group).num_rows
                    about = table.read_row_group(group, columns=sorted(labels)).to_pylist()
                    for row in range(count):
                        cell = TableCell(path, group, row, f"{column}.bytes")
                        label = about[row] if labels else {}
                        rows.append((f"{path.name}#{number}", cell, label))
                        number += 1
        except (OSError, ValueError) as error:
            raise _damaged(path, error) from error
    return rows


def _damaged(path: Path, error: Exception) -> ConfigError:
    return ConfigError(f"The table {path} cannot be read: {error}.", remedy="Get it again.")
