"""Figures with their intervals, and tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def interval(value: float, low: float, high: float, spec: str = ".3f") -> str:
    """A figure with its interval, each in the format `spec`."""
    return f"{value:{spec}} ({low:{spec}}–{high:{spec}})"
