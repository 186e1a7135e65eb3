"""Rows of a dataset with what the guard says of each; the actors import this, and no models."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.job import Job, Outcome
from guardalign_middleware.bulk.records import CANNOT
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.scale.actor import Holder
from guardalign_middleware.scale.store import Kept, ResultStore, digest_of
from guardalign_middleware.verdict_records import record_severity

PREFIX = "guardalign_"
"""Begins the names of the columns."""
_OF_ONE_FILE = {"source", "shard", "copy"}
"""What a result says that is not true of other files with this content."""


class ScanRows:
    """One actor: adds the guard's columns to batches of rows.

    Args:
        config: of the guard.
        column: with the files.
        name: column with their names.
        store: place and identity of the results by content, as for `ResultStore`.
        cleaned: whether cleaned files are wanted.
        version: of the program that started the job.
    """

    def __init__(
        self,
        config: GuardAlignConfig,
        column: str,
        name: str | None,
        store: tuple[str, str] | None,
        cleaned: bool,
        version: str,
    ) -> None:
        self._column, self._name = column, name
        self._copies: Path | None = None
        if cleaned:
            self._copies = Path(tempfile.mkdtemp(prefix="guardalign-"))
            weakref.finalize(self, shutil.rmtree, self._copies, ignore_errors=True)
        self._holder = Holder(Job(config, copies=self._copies), version)
        self._store = None if store is None else ResultStore(*store)

    def __call__(self, rows: Any) -> Any:
        """The rows with the guard's columns.

        Raises:
            ConfigError: a column is missing, or is there already.
        """
        import pyarrow

        check_columns(rows.schema.names, self._column, self._name)
        files = [cell.as_py() for cell in rows.column(self._column)]
        names = (
            ["<bytes>"] * len(files)
            if self._name is None
            else [str(cell.as_py()) for cell in rows.column(self._name)]
        )
        found = [told(one) for one in self._all(files, names)]
        kinds = {"distance": pyarrow.float64(), "threshold": pyarrow.float64()}
        if self._copies is not None:
            kinds["cleaned"] = pyarrow.large_binary()
        for field in COLUMNS if self._copies is None else (*COLUMNS, "cleaned"):
            values = pyarrow.array(
                [one[field] for one in found], kinds.get(field, pyarrow.large_string())
            )
            rows = rows.append_column(PREFIX + field, values)
        return rows

    def _all(self, files: Sequence[bytes | None], names: Sequence[str]) -> list[Kept]:
        """What is known of each file, after those that are new were scanned."""
        digests = ["" if data is None else digest_of(data) for data in files]
        known: dict[str, Kept] = {"": _error("The cell is empty.")}
        new: dict[str, Entry] = {}
        for digest, data, name in zip(digests, files, names, strict=True):
            if digest not in known and digest not in new:
                kept = None if self._store is None else self._store.get(digest)
                if kept is not None:
                    known[digest] = kept
                else:
                    # The place in a table is the only one where frames are not written apart.
                    new[digest] = Entry(name, digest, data, shard=name)
        for digest, outcome in zip(new, self._holder.outcomes(new.values()), strict=True):
            kept = known[digest] = self._kept(digest, outcome)
            if self._store is not None and outcome.status != CANNOT:
                self._store.put(digest, kept)
        return [named(known[digest], name) for digest, name in zip(digests, names, strict=True)]

    def _kept(self, digest: str, outcome: Outcome) -> Kept:
        cleaned = None
        if self._copies is not None:
            copy = self._copies / digest
            if copy.exists():
                cleaned = copy.read_bytes()
                copy.unlink()
        records = tuple(
            {name: value for name, value in record.items() if name not in _OF_ONE_FILE}
            for record in outcome.records
        )
        return Kept(records, cleaned)


COLUMNS = ("decision", "error", "category", "distance", "threshold", "records")
"""What is added to a dataset, each with `guardalign_` before it."""


def check_columns(have: Sequence[str], column: str, name: str | None) -> None:
    """Check that the columns of a dataset are those that are named.

    Raises:
        ConfigError: one is missing, or would be written over.
    """
    for asked, argument in ((column, "column"), (name, "name")):
        if asked is not None and asked not in have:
            raise ConfigError(
                f"The dataset has no column {asked!r}; it has {', '.join(have)}.",
                remedy=f"Name it with {argument}=…"
                + (", or give name=None." if argument == "name" else "."),
            )
    if taken := [one for one in have if one.startswith(PREFIX)]:
        raise ConfigError(
            f"The dataset has columns {', '.join(taken)} already.",
            remedy=f"Drop or rename them; {PREFIX} begins those of a scan.",
        )


def named(kept: Kept, name: str) -> Kept:
    """What is known of a content, with the name of this file."""
    return replace(kept, records=tuple({"source": name, **one} for one in kept.records))


def told(kept: Kept) -> dict[str, Any]:
    """The columns for a file."""
    worst = max(kept.records, key=_rank)
    row = {field: worst.get(field) for field in COLUMNS}
    row["error"] = worst.get("error", worst.get("fault"))
    row["records"] = "\n".join(_lines(kept.records))
    return {**row, "cleaned": kept.cleaned}


def _rank(record: Mapping[str, Any]) -> tuple[bool, tuple[int, int]]:
    return "error" in record, record_severity(record)


def _lines(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for record in records:
        yield json.dumps(record, allow_nan=False)


def _error(why: str) -> Kept:
    return Kept(({"error": why},))
