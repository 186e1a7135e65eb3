"""The sentences of the held-out screenshots, which stand in tables beside this module."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent


@cache
def _rows(table: str) -> tuple[tuple[str, str], ...]:
    rows = (_FOLDER / f"{table}.tsv").read_text(encoding="utf-8").splitlines()
    pairs = [row.split("\t") for row in rows]
    return tuple((kind, text) for kind, text in pairs)


def orders() -> tuple[tuple[str, str], ...]:
    """Orders to a model, each with its kind; every picture has one of its own."""
    return _rows("orders")


def sentences_for_people() -> tuple[tuple[str, str], ...]:
    """Harmless sentences with the words that orders to models have, each with its kind."""
    return _rows("people")


def background(kind: str) -> list[str]:
    """What a screen says besides: its "title", "sentence", "label" or "name"."""
    return [text for name, text in _rows("background") if name == kind]
