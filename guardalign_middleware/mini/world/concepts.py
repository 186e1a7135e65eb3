"""The things in the world of pictographs, read from `concepts.csv`."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Concept:
    """One kind of thing.

    Attributes:
        name: its word, in lower case; one token of the miniature vocabularies.
        character: its Unicode character.
        kind: the kind of thing ("animal", "tool", …).
        unsafe: its unsafe category; None if harmless.
        color: the main colour of its Noto pictograph.
        synonyms: other words for it.
    """

    name: str
    character: str
    kind: str
    unsafe: str | None
    color: str
    synonyms: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The name and its synonyms."""
        return (self.name, *self.synonyms)


def _read() -> tuple[Concept, ...]:
    table = Path(__file__).with_name("concepts.csv")
    with table.open(encoding="utf-8", newline="") as lines:
        return tuple(
            Concept(
                name=row["name"],
                character=chr(int(row["codepoint"], 16)),
                kind=row["kind"],
                unsafe=row["unsafe"] or None,
                color=row["color"],
                synonyms=tuple(word for word in row["synonyms"].split("|") if word),
            )
            for row in csv.DictReader(lines)
        )


CONCEPTS: tuple[Concept, ...] = _read()
UNSAFE_CATEGORIES: tuple[str, ...] = tuple(
    dict.fromkeys(concept.unsafe for concept in CONCEPTS if concept.unsafe)
)
