"""Suites that the hub holds as Parquet tables: one row an item, its picture in a column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import JsonValue

from guardalign_middleware.evaluation.suites.manifest import Item, Manifest
from guardalign_middleware.evaluation.suites.place import Place
from guardalign_middleware.evaluation.suites.rows import PICTURE, table_rows

Row = Mapping[str, Any]
_PICTURES = "image"
"""The column of pictures."""


@dataclass(frozen=True)
class Asked:
    """What a row asks.

    Attributes:
        id: unique in the split.
        prompt: for the model.
        target: the right answer, or None.
        metadata: for judges and tables; the split is added.
    """

    id: str
    prompt: str
    target: str | None = None
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)


class TableSuite:
    """A suite whose rows are in Parquet files.

    Args:
        manifest: of the suite; `columns` are those of the table, the picture's included.
        files: patterns of the files of each split, as published first, then as people store them.
        ask: what a row asks; it is given the row and its number.
        labels: split → "safe" or "unsafe", where splits differ in it.
    """

    def __init__(
        self,
        manifest: Manifest,
        files: Mapping[str, tuple[str, ...]],
        ask: Callable[[Row, int], Asked],
        *,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self.manifest = manifest
        self._labels = labels or {}
        self._files, self._ask = files, ask

    def load(self, folder: Path | None = None, split: str | None = None) -> Sequence[Item]:
        """Read all items of a split; see `Suite`."""
        place = Place.of(self.manifest, folder)
        wanted = place.split(split)
        paths = place.shards(*self._files[wanted])
        columns = [name for name in self.manifest.columns if name != _PICTURES]
        rows = table_rows(place, paths, columns, (_PICTURES,))
        place.check_count(wanted, len(rows), paths[0].parent)
        return items_of(
            place,
            wanted,
            [(self._ask(row, number), row[PICTURE]) for number, row in enumerate(rows)],
            label=self._labels.get(wanted),
        )


def items_of(
    place: Place,
    split: str,
    asked: Sequence[tuple[Asked, Sequence[Any]]],
    *,
    label: str | None = None,
) -> tuple[Item, ...]:
    """Items of what rows ask, with their pictures.

    Raises:
        SuiteError: two have one id.
    """
    items: dict[str, Item] = {}
    for one, pictures in asked:
        if one.id in items:
            raise place.error(f"the id {one.id} appears twice in the split {split!r}.")
        about = {"split": split, **one.metadata}
        if label is not None:
            about["label"] = label
        items[one.id] = Item(
            one.id, one.prompt, tuple(pictures), one.target, MappingProxyType(about)
        )
    return tuple(items.values())
