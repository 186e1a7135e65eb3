"""Cells and tables of the generated pages, as `benchmarks.pages.figures` reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Table = dict[str, Any]


def share(figure: Mapping[str, float] | None) -> str:
    """A figure with its interval; empty where nothing was measured."""
    if figure is None:
        return ""
    return f"{figure['value']:.3f} ({figure['low']:.3f}–{figure['high']:.3f})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], told: str) -> Table:
    """A table, and what is said below it."""
    return {"head": list(head), "rows": [list(row) for row in rows], "told": told}
