"""Tables of pictures: Parquet files with a column of image files, as data sets are published.

A cell is the bytes of a file, or a record with `bytes`, as Hugging Face data sets have it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.local_extra import install
from guardalign_middleware.writing import replaced

ROWS = 64
"""That are read together."""
_LINES = 10_000
_COLUMNS = {
    "source": "string",
    "decision": "string",
    "would_be": "string",
    "category": "string",
    "distance": "double",
    "threshold": "double",
    "sha256": "string",
    "frame": "int",
    "page": "int",
    "seconds": "double",
    "copy": "string",
    "error": "string",
    "fault": "string",
    "regions": "string",
    "record": "string",
}
_ENDINGS = (".parquet", ".pq")


def is_table(path: str) -> bool:
    """Whether a file is a table by its name."""
    return path.lower().endswith(_ENDINGS)


def table_entries(
    path: str, place: str, column: str, policy: IntakePolicy, known: Callable[[str], bool]
) -> Iterator[Entry]:
    """The pictures of a table, row by row; empty cells are left out.

    A damaged table gives an entry with the error after the rows that could be read.

    Args:
        path: of the table.
        place: the folder for the cleaned copies of its pictures.
        column: with the pictures.
        policy: how many bytes a picture may have.
        known: whether a picture of this name is done.

    Raises:
        ConfigError: what reads tables is not installed, or there is no such column of pictures.
    """
    parquet = parquet_library()
    number = 0
    try:
        with parquet.ParquetFile(path) as table:
            _check_column(path, table.schema_arrow, column)
            for batch in table.iter_batches(batch_size=ROWS, columns=[column]):
                for cell in batch.column(0):
                    name, where = f"{path}#{number}", f"{place}/{number}"
                    entry = Entry(name, where, shard=path, column=column)
                    number += 1
                    read = entry if known(name) else _read(entry, cell, policy)
                    if read is not None:
                        yield read
    except damage() as error:
        why = f"The table cannot be read from row {number} on: {error}."
        yield Entry(f"{path}#", place, error=why, shard=path, column=column)


def write_table(lines: Path, target: Path) -> None:
    """Write the JSON lines of a scan as a table with a row for each line.

    `regions` is JSON, and so is `record`, the whole line. What a line does not say is empty.

    Args:
        lines: the file of `scan --resume`.
        target: the Parquet file; it appears when it is complete.

    Raises:
        ConfigError: it cannot be written, or what writes tables is not installed.
    """
    parquet, arrow = parquet_library(), import_module("pyarrow")
    kinds = {"string": arrow.string(), "double": arrow.float64(), "int": arrow.int32()}
    schema = arrow.schema([(name, kinds[kind]) for name, kind in _COLUMNS.items()])
    with (
        lines.open(encoding="utf-8") as file,
        replaced(target) as out,
        parquet.ParquetWriter(out, schema, compression="zstd") as writer,
    ):
        while some := list(islice(file, _LINES)):
            rows = [_row(line.rstrip("\n")) for line in some]
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))


def _row(line: str) -> dict[str, Any]:
    record = json.loads(line)
    regions = record.get("regions")
    told = {"regions": None if regions is None else json.dumps(regions), "record": line}
    cells = {name: record.get(name) for name in _COLUMNS} | told
    return {name: _text(cell) if isinstance(cell, str) else cell for name, cell in cells.items()}


def _text(cell: str) -> str:
    """Bytes of a file name that are no UTF-8 as escapes: Parquet has no other texts."""
    return cell.encode("utf-8", "backslashreplace").decode()


def parquet_library() -> Any:
    """The library for tables.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigError(
            "Reading and writing tables needs pyarrow.",
            remedy=f"Install it with: {install('tables')}",
        ) from error


def damage() -> tuple[type[Exception], ...]:
    """What is raised for a table that cannot be read."""
    arrow = import_module("pyarrow")
    return (OSError, UnicodeDecodeError, arrow.ArrowException)


def _check_column(path: str, schema: Any, column: str) -> None:
    types = import_module("pyarrow.types")
    at = schema.get_field_index(column)
    kind = schema.field(at).type if at >= 0 else None
    if kind is not None and types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field(kind.get_field_index("bytes")).type
    if kind is None or not (types.is_binary(kind) or types.is_large_binary(kind)):
        names = ", ".join(schema.names)
        raise ConfigError(
            f"The table {path} has no column {column!r} of image files; it has {names}.",
            remedy="Name the column with --column. Columns of paths or URLs are not read.",
        )


def _read(entry: Entry, cell: Any, policy: IntakePolicy) -> Entry | None:
    """The entry with what its cell holds; None if that is empty."""
    value = cell.as_py()
    data = value.get("bytes") if isinstance(value, dict) else value
    if data is None:
        if isinstance(value, dict) and value.get("path") is not None:
            return replace(entry, error="The cell names a file and does not hold it.")
        return None
    return entry.holding(len(data), policy.max_bytes, lambda: data)
