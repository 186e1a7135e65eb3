"""`guardalign scan --report`: one page of HTML that needs nothing else, from the lines of a scan.

Unsafe pictures are shown small and covered. A blocked picture is not shown.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from guardalign_middleware.config import IntakePolicy, OutputConfig
from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.output import load_as_scanned
from guardalign_middleware.thumbnails import covered_thumbnail
from guardalign_middleware.writing import write_whole

_THUMBNAILS = 60
_BINS = 40
_LEVELS = ("allow", "undecided", "mask", "block")


@dataclass
class _Counts:
    """What the page says of all lines together."""

    rows: list[list[Any]] = field(default_factory=list)
    decisions: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)
    thresholds: set[float] = field(default_factory=set)
    masked: list[dict[str, Any]] = field(default_factory=list)
    observed: bool = False

    def add(self, record: dict[str, Any]) -> None:
        """Count a line."""
        error = record.get("error") or record.get("fault")
        # Of a scan that only observed, the page shows what would have been done, and says so.
        self.observed = self.observed or record.get("decision") == "observe"
        decided = record.get("would_be") or record.get("decision")
        decision = "error" if error is not None else str(decided)
        self.decisions[decision] += 1
        distance = None if error is not None else record["distance"]
        category = record.get("category") if decision in {"mask", "block"} else None
        if category is not None:
            self.categories[category] += 1
        if distance is not None and record["threshold"] is not None:
            self.thresholds.add(record["threshold"])
        name = _name(record)
        self.rows.append([name, decision, category, distance, record.get("seconds"), error])
        if decision == "mask" and len(self.masked) < _THUMBNAILS:
            self.masked.append(record)


def write_report(lines: Path, target: Path, intake: IntakePolicy, output: OutputConfig) -> None:
    """Write the page about a scan.

    Args:
        lines: the file of `scan --resume`.
        target: the page; it appears when it is complete.
        intake: by which the pictures shown were read.
        output: by which they were scaled down before they were scanned.

    Raises:
        ConfigError: it cannot be written.
    """
    counts = _Counts()
    with lines.open(encoding="utf-8") as file:
        for line in file:
            counts.add(json.loads(line))
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    data = {
        "observed": counts.observed,
        "made": f"{lines.name} · made {made} by GuardAlign Middleware",
        "counts": {"all": len(counts.rows), **{name: counts.decisions[name] for name in _LEVELS}}
        | {"error": counts.decisions["error"]},
        "categories": counts.categories.most_common(),
        "histogram": _histogram(counts.rows, sorted(counts.thresholds)),
        "thumbnails": list(_thumbnails(counts.masked, intake, output)),
        "rows": counts.rows,
    }
    page = files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    # Nothing in a name of a file may end the element that holds the data.
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    write_whole(target, page.replace("__DATA__", text, 1).encode())


def _name(record: Mapping[str, Any]) -> str:
    for kind in ("frame", "page"):
        if kind in record:
            return f"{record['source']}, {kind} {record[kind]}"
    return str(record["source"])


def _histogram(rows: Sequence[Sequence[Any]], thresholds: Sequence[float]) -> dict[str, Any]:
    """Counts of the distances, in bins of equal width; safe and unsafe ones."""
    safe = [row[3] for row in rows if row[1] in {"allow", "undecided"}]
    unsafe = [row[3] for row in rows if row[1] in {"mask", "block"}]
    ends = [*safe, *unsafe, *thresholds]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    high = high if high > low else low + 1.0

    def counts(values: Sequence[float]) -> list[int]:
        return np.histogram(values, _BINS, (low, high))[0].tolist()  # type: ignore[no-any-return]

    return {
        "low": low,
        "high": high,
        "safe": counts(safe),
        "unsafe": counts(unsafe),
        "thresholds": list(thresholds),
    }


def _thumbnails(
    records: Sequence[dict[str, Any]], intake: IntakePolicy, output: OutputConfig
) -> Iterator[tuple[str, str, str]]:
    """Source, picture and category of masked pictures that are files of their own."""
    for record in records:
        # Not Path.is_file, to which a name that is too long is an error.
        if {"frame", "page", "shard"} & record.keys() or not os.path.isfile(record["source"]):
            continue
        try:
            image = load_as_scanned(record["source"], intake, output)
        except GuardAlignError:
            continue  # it has changed since it was scanned
        if image.sha256 != record["sha256"]:
            continue  # so has this one, and what has to be covered may lie elsewhere
        boxes = [tuple(region["box"]) for region in record["regions"]]
        yield record["source"], covered_thumbnail(image.pixels, boxes), record["category"]
