"""The cleaned copy of a table: the pictures of the column that was scanned, and none of others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from guardalign_middleware.bulk.folders import Kind, kind_of
from guardalign_middleware.bulk.tables import ROWS, damage, parquet_library
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.intake.hidden_images import hidden_images
from guardalign_middleware.intake.other_pictures import is_picture_file
from guardalign_middleware.writing import replaced

_OF_BYTES = (
    *("binary", "large_binary", "binary_view", "fixed_size_binary"),
    *("string", "large_string", "string_view"),
)


def assemble_table(
    path: str,
    parts: Mapping[int, Path],
    target: Path,
    column: str,
    policy: IntakePolicy,
    skip: Callable[[str, Kind], None],
) -> str | None:
    """Write a copy of a table with the cleaned pictures of one column.

    A picture without a cleaned copy, blocked or not scanned, becomes an empty cell. So does every
    picture elsewhere, since only one column was scanned: bytes, also in records and lists, and
    base64. Everything else stays as it is.

    Args:
        path: of the original.
        parts: the cleaned pictures, by their row.
        target: the table to write; it appears when it is complete.
        column: with the pictures.
        policy: what counts as a picture.
        skip: called with each other column that loses pictures, and how many.

    Returns:
        Why the copy is short or missing, if the original is damaged; None = it is whole.

    Raises:
        ConfigError: it cannot be written.
    """
    arrow, parquet = import_module("pyarrow"), parquet_library()
    try:
        table = parquet.ParquetFile(path)
    except damage() as error:
        return f"There is no copy of {path}, which cannot be read: {error}."
    try:
        with table, replaced(target) as file:
            copy = _Copy(_with_empty_cells(table.schema_arrow), column, parts, policy)
            end = None
            batches = table.iter_batches(batch_size=ROWS)
            with parquet.ParquetWriter(file, copy.schema) as writer:
                while end is None:
                    try:
                        batch = next(batches, None)
                        cells = None if batch is None else copy.cells(batch)
                    except damage() as error:
                        end = f"The copy {target} ends where {path} cannot be read: {error}."
                        break
                    if batch is None or cells is None:
                        break
                    columns = copy.columns(batch, cells)
                    writer.write_batch(arrow.record_batch(columns, schema=copy.schema))
    except arrow.ArrowException as error:
        return f"There is no copy of {path}, whose cells cannot be emptied: {error}."
    for name, count in copy.emptied.items():
        skip(f"{path}, column {name}: {count:,} emptied", "column")
    return end


class _Copy:
    """The columns of a copy, batch by batch.

    Args:
        schema: of the copy.
        column: that was scanned.
        parts: its cleaned pictures, by their row.
        policy: what counts as a picture.

    Attributes:
        schema: of the copy.
        emptied: how many pictures that were not scanned each column has lost, in order.
    """

    def __init__(
        self, schema: Any, column: str, parts: Mapping[int, Path], policy: IntakePolicy
    ) -> None:
        self.schema, self._parts, self._policy = schema, parts, policy
        self._scanned = schema.get_field_index(column)
        self._open = [_may_hold_pictures(field.type) for field in schema]
        self._row = 0
        self._emptied = 0
        self.emptied: Counter[str] = Counter()

    def cells(self, batch: Any) -> list[list[Any] | None]:
        """The values of the next rows, column by column; None for one that holds no pictures."""
        return [
            _values(column).to_pylist() if is_open else None
            for column, is_open in zip(batch.columns, self._open, strict=True)
        ]

    def columns(self, batch: Any, cells: list[list[Any] | None]) -> list[Any]:
        """The columns of the copy for these rows."""
        columns = []
        for at, (field, old, values) in enumerate(
            zip(self.schema, batch.columns, cells, strict=True)
        ):
            self._emptied = 0
            if values is None:
                columns.append(old)
                continue
            if at == self._scanned:
                new = [self._cleaned(value) for value in values]
                columns.append(_array(new, field.type))
            else:
                new = [self._without_pictures(value) for value in values]
                columns.append(_replaced(old, new, field.type) if self._emptied else old)
            if self._emptied:
                self.emptied[field.name] += self._emptied
        return columns

    def _cleaned(self, cell: Any) -> Any:
        part = self._parts.get(self._row)
        self._row += 1
        if part is None:
            return None
        data = part.read_bytes()
        if not isinstance(cell, dict):
            return data
        others = {name: value for name, value in cell.items() if name != "bytes"}
        return {**self._without_pictures(others), "bytes": data}

    def _without_pictures(self, value: Any) -> Any:
        """A value in which pictures are empty; a record with `bytes` is one picture."""
        if isinstance(value, dict):
            data, name = value.get("bytes"), value.get("path")
            if isinstance(data, bytes) and self._is_picture(data, name):
                return None
            return {key: self._without_pictures(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._without_pictures(one) for one in value]
        if isinstance(value, tuple):  # of a map
            key, one = value
            return key, self._without_pictures(one)
        if isinstance(value, str):
            return None if self._is_base64(value) else value
        if isinstance(value, bytes):
            text = value.isascii() and self._is_base64(value.decode("ascii"))
            return None if text or self._is_picture(value) else value
        return value

    def _is_picture(self, data: bytes, name: object = None) -> bool:
        claims = kind_of(name if isinstance(name, str) else "", lambda: b"", self._policy)
        return self._note(claims == "picture" or is_picture_file(data, self._policy))

    def _is_base64(self, text: str) -> bool:
        return self._note(any(one.complete or one.whole for one in hidden_images(text)))

    def _note(self, found: bool) -> bool:
        self._emptied += found
        return found


def _values(column: Any) -> Any:
    """What a column holds, as a type from which values can always be taken."""
    arrow, types = import_module("pyarrow"), import_module("pyarrow.types")
    if isinstance(column.type, arrow.BaseExtensionType):
        return _values(column.storage)
    # Texts may be no UTF-8.
    texts = types.is_string(column.type) or types.is_large_string(column.type)
    return column.cast(arrow.large_binary()) if texts else column


def _replaced(old: Any, new: list[Any], kind: Any) -> Any:
    """A column in which some cells are emptied; the others stay to the byte."""
    arrow, types = import_module("pyarrow"), import_module("pyarrow.types")
    # Arrow takes no rows of a view.
    if kind.num_fields or types.is_binary_view(kind) or types.is_string_view(kind):
        return _array(new, kind)
    rows = [None if value is None else row for row, value in enumerate(new)]
    return old.take(arrow.array(rows, arrow.int64()))


def _array(cells: list[Any], kind: Any) -> Any:
    arrow = import_module("pyarrow")
    if isinstance(kind, arrow.BaseExtensionType):
        return arrow.ExtensionArray.from_storage(kind, arrow.array(cells, type=kind.storage_type))
    return arrow.array(cells, type=kind)


def _may_hold_pictures(kind: Any) -> bool:
    """Whether values of this type can be, or hold, bytes or texts."""
    arrow, types = import_module("pyarrow"), import_module("pyarrow.types")
    if isinstance(kind, arrow.BaseExtensionType):
        return _may_hold_pictures(kind.storage_type)
    if types.is_dictionary(kind):
        return _may_hold_pictures(kind.value_type)
    if kind.num_fields:
        return any(_may_hold_pictures(kind.field(at).type) for at in range(kind.num_fields))
    return any(getattr(types, f"is_{name}")(kind) for name in _OF_BYTES)


def _with_empty_cells(schema: Any) -> Any:
    """The schema of a copy, in which each cell that may hold a picture may be empty."""
    arrow = import_module("pyarrow")
    fields = [_optional(field) if _may_hold_pictures(field.type) else field for field in schema]
    return arrow.schema(fields, metadata=schema.metadata)


def _optional(field: Any) -> Any:
    arrow, types = import_module("pyarrow"), import_module("pyarrow.types")
    kind = field.type
    if types.is_struct(kind):
        parts = [_optional(kind.field(at)) for at in range(kind.num_fields)]
        field = field.with_type(arrow.struct(parts))
    elif types.is_list(kind):
        field = field.with_type(arrow.list_(_optional(kind.value_field)))
    elif types.is_large_list(kind):
        field = field.with_type(arrow.large_list(_optional(kind.value_field)))
    elif types.is_fixed_size_list(kind):
        field = field.with_type(arrow.list_(_optional(kind.value_field), kind.list_size))
    elif types.is_map(kind):
        field = field.with_type(
            arrow.map_(kind.key_field, _optional(kind.item_field), kind.keys_sorted)
        )
    return field.with_nullable(True)
