"""Tables as the benchmarks store them and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guardalign_middleware.bench.tables import interval as interval
from guardalign_middleware.bench.tables import markdown as markdown

Table = dict[str, Any]
"""A table ready for a page: `head`, `rows` and `told`, the note below it."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], note: str) -> Table:
    """A table with a note below it."""
    return {"head": list(head), "rows": [list(row) for row in rows], "told": note}


def estimate(stored: Mapping[str, float] | None) -> str:
    """A stored estimate with its interval; empty where nothing was measured."""
    return "" if stored is None else interval(stored["value"], stored["low"], stored["high"])


def unmeasured(command: str) -> str:
    """What stands for a table whose figures are not stored yet."""
    return f"Not measured yet: `python -m {command}`."
