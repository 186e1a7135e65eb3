"""The parts of a report, before they become HTML or Markdown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Cells of text below a head."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Plot:
    """A drawing, with what it shows in words for those who do not see it."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Pictures:
    """Covered pictures: a `data:` URL and a caption each."""

    shown: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it.

    Attributes:
        title: the heading.
        parts: in their order; a string is a paragraph.
    """

    title: str
    parts: tuple[Table | Plot | Pictures | str, ...]


@dataclass(frozen=True)
class Report:
    """The whole page."""

    title: str
    made: str
    sections: tuple[Section, ...]
