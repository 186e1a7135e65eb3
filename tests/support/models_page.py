"""The tables in docs/models.md that commands write, each between two comments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "models.md"


@dataclass(frozen=True)
class PageTable:
    """A table on the page.

    Attributes:
        begin: the comment before it.
        end: the comment after it.
        head: its first two lines.
    """

    begin: str
    end: str
    head: str

    def rows(self) -> list[str]:
        """The rows on the page."""
        text = PAGE.read_text(encoding="utf-8")
        return text[text.index(self.begin) : text.index(self.end)].strip().splitlines()[4:]

    def write(self, rows: Sequence[str]) -> None:
        """Replace the rows on the page."""
        text = PAGE.read_text(encoding="utf-8")
        before, after = text[: text.index(self.begin)], text[text.index(self.end) :]
        table = "\n".join([self.begin, "", self.head, *rows, ""])
        PAGE.write_text(f"{before}{table}\n{after}", encoding="utf-8")
