"""Whether a text is a near copy of others, as what one is learned from and another is measured on.

Texts are compared by the words of their letters, three in a row, as the share that two have in
common (Jaccard); texts of fewer words are near copies only if they are equal.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

_NEAR = 0.6
_ROW = 3


class NearCopies:
    """Knows near copies of some texts."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._rows: list[int] = []
        self._with: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for text in texts:
            rows = _rows_of(text)
            for row in rows:
                self._with[row].append(len(self._rows))
            self._rows.append(len(rows))

    def has(self, text: str) -> bool:
        """Whether the text is a near copy of one of them: they share 0.6 of their rows or more."""
        rows = _rows_of(text)
        shared = Counter(index for row in rows for index in self._with.get(row, ()))
        return any(
            count >= _NEAR * (len(rows) + self._rows[index] - count)
            for index, count in shared.items()
        )


def _rows_of(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[^\W_]+", text.lower())
    if len(words) < _ROW:
        return {tuple(words)} if words else set()
    return {tuple(words[at : at + _ROW]) for at in range(len(words) - _ROW + 1)}
