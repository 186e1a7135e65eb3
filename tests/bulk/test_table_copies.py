"""The cleaned copy of a table has no picture that was not scanned."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from guardalign_middleware.bulk.table_copies import assemble_table
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.testing.pdf import drawn_pdf
from tests.support.bulk import PLAIN, UNSAFE

BASE64 = base64.b64encode(UNSAFE).decode()
URL = f"data:image/png;base64,{BASE64}"
HF = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


def copied(
    folder: Path, schema: pyarrow.Schema, columns: dict[str, list[Any]], *, rows: int = 2
) -> tuple[pyarrow.Table, list[str]]:
    """The copy of a table whose pictures are all clean, and what was said of other columns."""
    path, part = folder / "t.parquet", folder / "0"
    image = pyarrow.field("image", pyarrow.binary(), nullable=False)
    whole = pyarrow.schema([image, *schema], metadata={"about": "tests"})
    table = pyarrow.table({"image": [UNSAFE] * rows, **columns}, schema=whole)
    pyarrow.parquet.write_table(table, path)
    part.write_bytes(PLAIN)
    said: list[str] = []

    def skip(name: str, kind: str) -> None:
        assert kind == "column"
        said.append(name.removeprefix(f"{path}, column "))

    parts = dict.fromkeys(range(rows - 1), part)
    assert assemble_table(str(path), parts, folder / "c.pq", "image", IntakePolicy(), skip) is None
    copy = pyarrow.parquet.read_table(folder / "c.pq")
    # The last one was blocked, which the schema of the original does not allow for.
    assert copy["image"].to_pylist() == [PLAIN] * (rows - 1) + [None]
    assert copy.schema.metadata[b"about"] == b"tests"
    return copy, said


@pytest.mark.parametrize(
    ("kind", "cell", "left"),
    [
        (pyarrow.binary(), UNSAFE, None),
        (pyarrow.large_binary(), drawn_pdf(b""), None),
        (pyarrow.binary(len(UNSAFE)), UNSAFE, None),
        (pyarrow.binary(), b"8BPS of an editor", None),
        (pyarrow.binary(), BASE64.encode(), None),
        (pyarrow.string(), BASE64, None),
        (pyarrow.large_string(), f"Look: {URL}!", None),
        (pyarrow.dictionary(pyarrow.int8(), pyarrow.string()), URL, None),
        (HF, {"bytes": UNSAFE, "path": "a"}, None),
        (HF, {"bytes": b"damaged", "path": "a.png"}, None),
        (pyarrow.list_(HF), [{"bytes": UNSAFE, "path": None}, None], [None, None]),
        (pyarrow.list_(pyarrow.binary()), [UNSAFE, b"sound"], [None, b"sound"]),
        (pyarrow.map_(pyarrow.string(), pyarrow.binary()), [("a", UNSAFE)], [("a", None)]),
        (pyarrow.struct([("a", HF), ("b", pyarrow.int8())]), {"a": {"bytes": UNSAFE}, "b": 1},
         {"a": None, "b": 1}),
        (pyarrow.binary_view(), UNSAFE, None),
        (pyarrow.string_view(), BASE64, None),
        (pyarrow.list_(pyarrow.field("a", pyarrow.binary(), nullable=False), 2), [UNSAFE, b"a"],
         [None, b"a"]),
        (
            pyarrow.map_(pyarrow.string(), pyarrow.field("a", pyarrow.binary(), nullable=False)),
            [("a", UNSAFE)],
            [("a", None)],
        ),
        (
            pyarrow.struct([pyarrow.field("a", pyarrow.binary(), nullable=False)]),
            {"a": UNSAFE},
            {"a": None},
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("nullable", [False, True])
def test_pictures_of_other_columns_are_empty_and_named(
    tmp_path: Path, kind: pyarrow.DataType, cell: Any, left: Any, nullable: bool
) -> None:
    schema = pyarrow.schema([pyarrow.field("other", kind, nullable=nullable)])
    copy, said = copied(tmp_path, schema, {"other": [cell] * 2})
    assert copy["other"].to_pylist() == [left] * 2
    assert said == ["other: 2 emptied"]


def test_everything_else_stays_as_it_is(tmp_path: Path) -> None:
    schema = pyarrow.schema(
        [
            ("caption", pyarrow.string()),
            ("path", pyarrow.string()),
            ("sound", HF),
            ("numbers", pyarrow.list_(pyarrow.uint8())),
            ("split", pyarrow.dictionary(pyarrow.int8(), pyarrow.string())),
            ("digest", pyarrow.binary(4)),
        ]
    )
    columns: dict[str, list[Any]] = {
        "caption": ["BM 42 and iVBORw0KGgo", None],
        "path": ["photos/a.png", "https://example.com/a.png"],
        "sound": [{"bytes": b"RIFF", "path": "a.wav"}, {"bytes": None, "path": "a.png"}],
        "numbers": [list(PLAIN), []],
        "split": ["train", "test"],
        "digest": [b"BM12", b"abcd"],
    }
    copy, said = copied(tmp_path, schema, columns)
    assert copy.select(list(columns)).to_pydict() == columns
    assert copy.select(list(columns)).schema == schema.with_metadata(copy.schema.metadata)
    assert said == []


def test_bytes_that_only_begin_as_pictures_stay(tmp_path: Path) -> None:
    vectors = [b"\xff\x0a" + bytes(range(14)), b"\0\0\1\0" + bytes(range(1, 13))]
    notes = [b"%PDF-1.7 is how it begins", b"P5 10 20 30 units", b"DDS is a dentist", b"icns, qoif"]
    schema = pyarrow.schema([("other", pyarrow.binary())])
    cells = [*vectors, *notes]
    copy, said = copied(tmp_path, schema, {"other": cells}, rows=len(cells))
    assert copy["other"].to_pylist() == cells
    assert said == []


def test_texts_that_are_no_utf8_stay(tmp_path: Path) -> None:
    texts = pyarrow.Array.from_buffers(
        pyarrow.string(), 2, pyarrow.array([b"caf\xe9", UNSAFE], pyarrow.binary()).buffers()
    )
    path = tmp_path / "t.parquet"
    table = pyarrow.table({"image": [UNSAFE] * 2, "caption": texts})
    pyarrow.parquet.write_table(table, path)
    assemble_table(str(path), {}, tmp_path / "c.pq", "image", IntakePolicy(), lambda *_: None)
    copy = pyarrow.parquet.read_table(tmp_path / "c.pq")
    assert copy["caption"].cast(pyarrow.binary()).to_pylist() == [b"caf\xe9", None]


def test_the_scanned_records_lose_what_else_they_hold(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    cells = [{"bytes": UNSAFE, "path": "a.png", "thumb": UNSAFE}]
    pyarrow.parquet.write_table(pyarrow.table({"image": cells}), path)
    (tmp_path / "0").write_bytes(PLAIN)
    said: list[str] = []
    target = tmp_path / "c.pq"
    assemble_table(
        str(path),
        {0: tmp_path / "0"},
        target,
        "image",
        IntakePolicy(),
        lambda *one: said.extend(one),
    )
    copy = pyarrow.parquet.read_table(target)["image"].to_pylist()
    assert copy == [{"bytes": PLAIN, "path": "a.png", "thumb": None}]
    assert said == [f"{path}, column image: 1 emptied", "column"]
