"""Parquet tables as data sets are published: rows without pictures, and pictures one by one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from guardalign_middleware.local_extra import require_extra


class StoredPicture(Protocol):
    """A picture within a larger file, read when it is needed."""

    def read_bytes(self) -> bytes:
        """The picture's file.

        Raises:
            OSError: the larger file is gone, or another one than it was.
        """


@dataclass(frozen=True)
class TableCell:
    """A picture in a Parquet file, read when it is needed: some suites have tens of gigabytes.

    Attributes:
        path: of the file.
        group: its row group.
        row: within the group.
        column: the path of the column's values, such as "image.bytes".
    """

    path: Path
    group: int
    row: int
    column: str

    def read_bytes(self) -> bytes:
        """The picture's file.

        Raises:
            OSError: the table is gone, or another one than it was.
        """
        data = picture_column(self.path, self.group, self.column)[self.row].as_py()
        if not isinstance(data, bytes):
            raise OSError(f"{self.path} has no picture in row {self.row} of group {self.group}.")
        return data


def parquet() -> Any:
    """The library that reads tables.

    Raises:
        ConfigError: it is not installed.
    """
    require_extra("tables", "Suites that are published as tables need", ("pyarrow",))
    return import_module("pyarrow.parquet")


@lru_cache(maxsize=2)  # items are read in their order, and a group is some hundred pictures
def picture_column(path: Path, group: int, column: str) -> Any:
    """One column of a row group, without the table around it."""
    with parquet().ParquetFile(path) as table:
        found = table.read_row_group(group, columns=[column]).column(0)
    for name in column.split(".")[1:]:
        found = import_module("pyarrow.compute").struct_field(found, name)
    return found
