"""Files in the layouts that authors publish, made here: no test shows a real prompt or picture.

The real files are read too where they are at hand: in the folder that `BENCHMARK_DATA` names, or in
`shared/benchmark-data`.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from guardalign_middleware.evaluation.suites import Suite, suite

ROOT = Path(__file__).parents[2]
PICTURE = b"\x89PNG made"
"""Loaders never decode a picture."""


def real_files(suite: str) -> Path:
    """The folder of a suite's real files; the test is skipped where there is none."""
    data = Path(os.environ.get("BENCHMARK_DATA", ROOT / "shared" / "benchmark-data"))
    if not (data / suite).is_dir():
        pytest.skip(f"The real files of {suite} are not at hand.")
    return data / suite


def write_csv(
    path: Path,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    end: str = "\n",
    mark: bool = False,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    encoding = "utf-8-sig" if mark else "utf-8"
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, lineterminator=end)
        if columns:
            writer.writerow(columns)
        writer.writerows(rows)
    return path


def write_pictures(paths: Iterable[Path]) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PICTURE)


def write_table(path: Path, columns: dict[str, list[Any]], *, empty: Iterable[int] = ()) -> Path:
    """A table as the hub stores it; "image" and "unsafe_image" are pictures.

    `empty` are rows without a picture, every second of them without a cell.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = len(next(iter(columns.values())))
    for name in {"image", "unsafe_image"} & set(columns):
        columns[name] = [
            {"bytes": PICTURE + bytes([row % 256]), "path": f"{row}.jpg"} for row in range(rows)
        ]
        for number, row in enumerate(empty):
            columns[name][row] = None if number % 2 else {"bytes": None, "path": f"{row}.jpg"}
    parquet.write_table(pyarrow.table(columns), path, row_group_size=4)
    return path


def write_json(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def of_size(name: str, rows: int) -> Suite:
    """The suite as if it were published with so many rows in each split."""
    found = copy(suite(name))
    counts = MappingProxyType(dict.fromkeys(found.manifest.counts, rows))
    found.manifest = replace(found.manifest, counts=counts)  # type: ignore[misc]
    return found
