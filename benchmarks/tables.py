"""Tables as the benchmarks store them and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Table = dict[str, Any]
"""A table ready for a page: `head`, `rows` and `told`, the note below it."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], note: str) -> Table:
    """A table with a note below it."""
    return {"head": list(head), "rows": [list(row) for row in rows], "told": note}


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def interval(value: float, low: float, high: float, spec: str = ".3f") -> str:
    """A figure with its interval, each in the format `spec`."""
    return f"{value:{spec}} ({low:{spec}}–{high:{spec}})"


def estimate(stored: Mapping[str, float] | None) -> str:
    """A stored estimate with its interval; empty where nothing was measured."""
    return "" if stored is None else interval(stored["value"], stored["low"], stored["high"])


def unmeasured(command: str) -> str:
    """What stands for a table whose figures are not stored yet."""
    return f"Not measured yet: `python -m {command}`."
