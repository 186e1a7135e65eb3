"""Rows of the files of a suite, with the columns that they must have."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.evaluation.suites.cells import TableCell, parquet, picture_column
from guardalign_middleware.evaluation.suites.place import Place
from guardalign_middleware.strict import Malformed, json_value, read_bytes

_MAX_BYTES = 512 << 20
PICTURE = "picture"
"""The name under which a row of a table has its `TableCell`s."""


class Origin(Protocol):
    """What tables belong to, and whose errors theirs are: a `Place` of a suite, for one."""

    @property
    def folder(self) -> Path:
        """Where they lie."""

    def error(self, message: str, remedy: str = "") -> GuardAlignError:
        """An error about them."""


def csv_rows(place: Place, path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file with a header, with or without a byte order mark.

    Raises:
        SuiteError: it cannot be read, lacks a column, or has a row of another width.
    """
    reader = csv.DictReader(io.StringIO(_text(place, path), newline=""), strict=True)
    try:
        check_columns(place, path, reader.fieldnames or (), columns)
        rows = []
        for row in reader:
            if None in row or None in row.values():
                raise place.error(f"{path} has a row of another width in line {reader.line_num}.")
            rows.append(row)
    except csv.Error as error:
        raise place.error(f"{path} is not CSV in line {reader.line_num}: {error}.") from error
    return rows


def csv_lines(place: Place, path: Path) -> list[list[str]]:
    """The rows of a CSV file without a header.

    Raises:
        SuiteError: it cannot be read.
    """
    try:
        return list(csv.reader(io.StringIO(_text(place, path), newline=""), strict=True))
    except csv.Error as error:
        raise place.error(f"{path} is not CSV: {error}.") from error


def json_rows(place: Place, path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The records of a JSON file, a list of them or an object of them, in their order.

    Raises:
        SuiteError: it cannot be read, or a record lacks a column.
    """
    value = json_file(place, path)
    rows = list(value.values()) if isinstance(value, Mapping) else value
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise place.error(f"{path} does not hold records.")
    for number, row in enumerate(rows):
        check_columns(place, f"record {number} of {path}", row, columns)
    return rows


def json_file(place: Place, path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        SuiteError: it cannot be read.
    """
    try:
        return json_value(_bytes(place, path))
    except Malformed as error:
        raise place.error(f"{path}: {error}.") from error


def table_rows(
    place: Origin,
    paths: Sequence[Path],
    columns: Sequence[str],
    pictures: Sequence[str] = (),
    *,
    gaps: bool = False,
) -> list[dict[str, Any]]:
    """The rows of Parquet files, without the pictures themselves.

    Args:
        place: of the suite.
        paths: of the shards, in their order.
        columns: to read.
        pictures: columns of pictures. Each row has its `TableCell`s under `PICTURE`, in the order
            of these columns.
        gaps: take rows that lack a picture, with nothing under `PICTURE`.

    Raises:
        SuiteError: a file is damaged, lacks a column, or has a row without its picture; another
            `place` has errors of its own.
        ConfigError: what reads tables is not installed.
    """
    shards = (_shard(place, path, columns, pictures, gaps=gaps) for path in paths)
    return list(chain.from_iterable(shards))


def table_columns(place: Origin, path: Path) -> list[str]:
    """The names of the columns of a Parquet file.

    Raises:
        SuiteError, ConfigError: as for `table_rows`.
    """
    with _opened(place, path) as table:
        return list(table.schema_arrow.names)


@contextmanager
def _opened(place: Origin, path: Path) -> Iterator[Any]:
    library = parquet()
    try:
        with library.ParquetFile(path) as table:
            yield table
    except ValueError as error:  # pyarrow's own errors about the format are ValueErrors
        raise place.error(f"{path} is not a Parquet file: {error}.") from error
    except OSError as error:
        raise place.error(f"{place.folder}: {error}.") from error


def _shard(
    place: Origin, path: Path, columns: Sequence[str], pictures: Sequence[str], *, gaps: bool
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with _opened(place, path) as table:
        check_columns(place, path, table.schema_arrow.names, [*columns, *pictures])
        cells = [_cell_column(place, path, table.schema_arrow, name) for name in pictures]
        for group in range(table.num_row_groups):
            empty = {row for name in cells for row in _empty_rows(path, table, group, name)}
            if empty and not gaps:
                raise place.error(
                    f"{path} has {len(empty)} rows without a picture, the first is row "
                    f"{min(empty)} of group {group}."
                )
            read = table.read_row_group(group, columns=list(columns)).to_pylist()
            for number in range(table.metadata.row_group(group).num_rows):
                row = read[number] if columns else {}
                there = () if number in empty else cells
                row[PICTURE] = [TableCell(path, group, number, name) for name in there]
                rows.append(row)
    return rows


def _empty_rows(path: Path, table: Any, group: int, name: str) -> list[int]:
    """Empty cells; where the file counts them, pictures are not read for it."""
    about = table.metadata.row_group(group)
    (column,) = (
        about.column(number)
        for number in range(about.num_columns)
        if about.column(number).path_in_schema == name
    )
    counted = column.statistics
    if counted is not None and counted.has_null_count and not counted.null_count:
        return []
    cells = picture_column(path, group, name)
    return [number for number in range(len(cells)) if not cells[number].is_valid]


def _cell_column(place: Origin, path: Path, schema: Any, name: str) -> str:
    kind = schema.field(name).type
    if getattr(kind, "num_fields", 0) and kind.get_field_index("bytes") >= 0:
        return f"{name}.bytes"
    if "binary" in str(kind):
        return name
    raise place.error(f"the column {name!r} of {path} holds no pictures but {kind}.")


def check_columns(
    place: Origin,
    what: str | Path,
    found: Sequence[str] | Mapping[str, Any],
    columns: Sequence[str],
) -> None:
    """Compare columns with those that a file must have.

    Raises:
        SuiteError: one is missing.
    """
    missing = [name for name in columns if name not in found]
    if missing:
        raise place.error(
            f"{what} lacks {', '.join(map(repr, missing))}; it has {', '.join(found) or 'none'}.",
            "Other files of the same name are about; compare it with the published one.",
        )


def _text(place: Place, path: Path) -> str:
    try:
        return _bytes(place, path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise place.error(f"{path} is not UTF-8 at byte {error.start:,}.") from error


def _bytes(place: Place, path: Path) -> bytes:
    try:
        return read_bytes(path, _MAX_BYTES)
    except Malformed as error:
        raise place.error(f"{path}: {error}.") from error
