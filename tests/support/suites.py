"""Files in the layouts that authors publish, made here: no test shows a real prompt or picture.

The real files are read too where they are at hand: in the folder that `BENCHMARK_DATA` names, or in
`shared/benchmark-data`.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

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
