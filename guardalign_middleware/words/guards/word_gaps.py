"""The words of a text whose spaces a reader lost, or put where none belong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf, log

from guardalign_middleware.words.plain import plain

VERSION = 1
"""Of what texts become; thresholds are fitted for one."""

# A list of pieces has letters, units and halves of words as well; these are words of two letters.
_SHORT = frozenset(
    "a i ai am an as at be by do go he hi id if in is it me my no of oh ok on or so to up us "
    "we".split()
)
# Of three letters, only the commonest are.
_COMMON = 2500
# Costs, as −ln of a probability. Of a gap that is put in or taken out, ...
_GAP = 3.0
# ... of a word of one letter, beside its rank, and of an unknown word and each of its letters.
_SINGLE, _UNKNOWN, _LETTER = 3.0, 8.0, 2.0
_LONGEST_SHORT, _PLURAL = 2, 4
# A part of a word is no unknown word if it has fewer letters, or more.
_FEWEST, _MOST = 3, 12
# So many known words beside an unknown one can hold pieces of it.
_AROUND = 2

# In the order in which a text is read: words set apart by two gaps, whose letters are by one.
_WIDE = re.compile(r"\s{2,}")
_SPREAD = re.compile(r"\S(?: \S)+")
_WORD = re.compile(r"[a-z]+")
# Addresses, paths and names in code have words without gaps; longer ones are taken for lost gaps.
_NAME = re.compile(
    r"(?:https?:|www\.)[\w./?=&%#:~+-]{1,200}"
    r"|(?<![\w.@-])(?:[\w.-]{1,40}@[\w.-]{1,40}|[\w.-]{1,40}(?:[_/\\=([<>{]+[\w.-]{1,40}){1,4}"
    r"|[\w.-]{1,40}[_/\\=([<>{]+|[\w-]{1,30}\.(?:com|org|net|io|example|py|js|md|txt|json|pdf))"
    r"(?![\w@])"
)
_SENTENCE = re.compile(r"[^.!?;]+")
# New words and names look like words without gaps: so many changes are needed in a sentence, and
# as large a share of its words.
_FEWEST_CHANGES, _LEAST_SHARE = 2, 0.15


@dataclass(frozen=True)
class _Token:
    """Letters of a plain text."""

    text: str
    start: int
    known: bool


class WordGaps:
    """Puts the gaps of a text where a list of words says.

    Args:
        words: in lower case, the commonest first.
    """

    def __init__(self, words: Iterable[str]) -> None:
        kept = [
            word
            for rank, word in enumerate(words)
            if len(word) > 3 or word in _SHORT or (len(word) == 3 and rank < _COMMON)
        ]
        self._known = frozenset(kept)
        self._longest = max(map(len, kept), default=0)
        # Readers take I and l for each other, so words are looked up with i for both.
        self._costs: dict[str, tuple[float, str]] = {}
        for rank, word in enumerate(kept, 1):
            cost = log(rank * log(len(kept) + 1)) + _SINGLE * (len(word) == 1)
            self._costs.setdefault(word.replace("l", "i"), (cost, word))

    def mended(self, text: str) -> str:
        """The text in plain words with other gaps, or as it is if all of its words are known.

        Letters that stand apart are joined, with a wider gap as the end of a word. Words that are
        not in the list are split, joined with their neighbours, and read with i for l and l for i,
        if that makes words of the list; in sentences in which that is so of several, as new words
        and names can look so, too. Addresses and names in code stay, and so do known words.
        """
        closed = " ".join(_closed(part) for part in _WIDE.split(text.strip()))
        spread = closed != " ".join(text.split())
        read = plain(closed)
        found, end = "", 0
        for sentence in _SENTENCE.finditer(_NAME.sub(_hidden, read)):
            rows = list(self._unsure(sentence))
            mended = [self._words(row) for row in rows]
            changes = sum(count for _, count in mended)
            words = len(sentence[0].split()) + changes
            if changes and (spread or changes >= max(_FEWEST_CHANGES, _LEAST_SHARE * words)):
                # The gap after the sentence before may be lost as well.
                found, end = f"{found}{read[end : sentence.start()]} ", sentence.start()
                for row, (said, _) in zip(rows, mended, strict=True):
                    found += read[end : row[0].start] + said
                    end = row[-1].start + len(row[-1].text)
        return " ".join((found + read[end:]).split()) if found or spread else text

    def _unsure(self, sentence: re.Match[str]) -> Iterator[list[_Token]]:
        """Unknown words with their neighbours, where only spaces stand between them."""
        rows: list[list[_Token]] = [[]]
        end = -1
        text, first = sentence[0], sentence.start()
        for found in _WORD.finditer(text):
            if not (found.start() == end + 1 and text[end] == " "):
                rows.append([])
            rows[-1].append(_Token(found[0], first + found.start(), found[0] in self._known))
            end = found.end()
        for row in rows:
            near = {
                place
                for unknown, token in enumerate(row)
                if not token.known
                for place in range(unknown - _AROUND, unknown + _AROUND + 1)
            }
            part: list[_Token] = []
            for place, token in enumerate(row):
                if place in near:
                    part.append(token)
                elif part:
                    yield part
                    part = []
            if part:
                yield part

    def _found(self, word: str) -> tuple[float, str] | None:
        """The word of the list that a word is, with i for l, and what it costs; with an s, too."""
        alike = word.replace("l", "i") if len(word) > _LONGEST_SHORT else word
        found = self._costs.get(alike)
        if found is None and alike[-1] == "s" and len(alike) > _PLURAL:
            found = self._costs.get(alike[:-1])
            return None if found is None else (found[0] + _SINGLE, f"{found[1]}s")
        return found if found is None or word not in self._known else (found[0], word)

    def _words(self, tokens: Sequence[_Token]) -> tuple[str, int]:
        """The likeliest words that tokens in a row are made of, and how many changes that takes."""
        letters = "".join(token.text for token in tokens)
        best = self._cheapest(letters, tokens)
        gaps = {0, *accumulate(len(token.text) for token in tokens[:-1])}
        words: list[str] = []
        starts = set()
        end = len(letters)
        while end:
            _, start, word = best[end]
            if words and end not in gaps and not self._found(word) and not self._found(words[-1]):
                # Two parts of one unknown word.
                starts.discard(end)
                word += words.pop()
            words.append(word)
            starts.add(start)
            end = start
        words.reverse()
        others = sum(one != two for one, two in zip("".join(words), letters, strict=True))
        return " ".join(words), others + len(starts ^ gaps)

    def _cheapest(self, letters: str, tokens: Sequence[_Token]) -> list[tuple[float, int, str]]:
        """Of the cheapest words up to each letter: what they cost, and the last with its start."""
        best: list[tuple[float, int, str]] = [(0.0, 0, "")] + [(inf, 0, "")] * len(letters)
        owners = [place for place, token in enumerate(tokens) for _ in token.text]
        first = 0
        for place, token in enumerate(tokens):
            last = first + len(token.text)
            for end in (last,) if token.known else range(first + 1, last + 1):
                gap = _GAP * (end < last)
                for start in range(max(0, end - self._longest), end):
                    if best[start][0] == inf:
                        continue
                    word = letters[start:end]
                    if found := self._found(word):
                        held = tokens[owners[start] : place + 1]
                        if len(held) == 1 or not all(one.known for one in held):
                            cost = best[start][0] + found[0] + gap + _GAP * (len(held) - 1)
                            best[end] = min(best[end], (cost, start, found[1]))
                    least = min(_FEWEST, last - first)
                    if start >= first and least <= len(word) <= _MOST:
                        cost = best[start][0] + _UNKNOWN + _LETTER * len(word) + gap
                        best[end] = min(best[end], (cost, start, word))
            first = last
        return best


def _closed(part: str) -> str:
    """Letters that stand apart, without the gaps between them."""
    return part.replace(" ", "") if _SPREAD.fullmatch(part) else part


def _hidden(name: re.Match[str]) -> str:
    return "0" * len(name[0])
