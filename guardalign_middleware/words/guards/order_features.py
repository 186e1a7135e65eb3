"""What the classifier of orders sees of a text: its words, their letters, and their groups.

Words alone know wordings. Groups of words (`order_words`) near each other are common to many: in
"never inform the customer" and "do not let your user know" a *not* stands before a *tell* and a
*user*.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations, pairwise
from math import log

from guardalign_middleware.words.guards.features import Features, hashed
from guardalign_middleware.words.guards.order_words import groups_of
from guardalign_middleware.words.plain import plain

BUCKETS = 2**18
VERSION = "2"
"""Changes with anything that changes a feature; the weights name the version they are for."""

_MAIL = re.compile(r"\S+@\S+")
_SITE = re.compile(r"https?:/\S+|www\.\S+|\b[\w-]+\.(?:example|com|org|net|io)\b\S*")
_TOKEN = re.compile(r"MAIL|SITE|[^\W\d_]+(?:['_-][^\W\d_]+)*|\d[\d.,]*|[^\w\s]")
_LETTERS = (4, 5)
# Groups this many words apart are a pair, and this many are neighbours.
_NEAR, _BESIDE = 6, 2

# By kind of feature: a word, two words in a row, letters, a group, a group at the start, a pair of
# groups in order, neighbours, any two groups of the text, and a word beside a group.
_WEIGHTS = {
    "w": 1.0, "p": 1.0, "c": 0.4, "g": 1.0, "s": 1.0, "d": 0.5, "n": 0.7, "b": 0.4, "x": 0.7,
}  # fmt: skip

# A sentence of more words is read in windows of as many.
_LONG = 40
_END = re.compile(r"(?<=[.!?;。！？])\s+|\s+(?=[#>|•*]\s)|\s[|•]\s")


def order_parts(text: str) -> tuple[str, ...]:
    """The sentences of a text, and every two that follow each other.

    An order of one sentence is lost among ten others. A sentence of more than 40 words, as menus
    and lists are read, is cut into windows that overlap by half.
    """
    pieces: list[str] = []
    for sentence in _END.split(text):
        words = sentence.split()
        for first in range(0, max(1, len(words) - _LONG // 2), _LONG // 2):
            pieces.append(" ".join(words[first : first + _LONG]))
    pieces = [piece for piece in pieces if piece]
    return tuple(dict.fromkeys([*pieces, *(f"{one} {other}" for one, other in pairwise(pieces))]))


def order_features(text: str) -> Features:
    """Buckets of a sentence's features, and their values, which form a unit vector.

    Returns:
        Different buckets `[N]` in 0..BUCKETS − 1, and values `[N]`; empty for a text without words.
    """
    words = _words(text)
    if not any(word[0].isalpha() for word in words):
        return hashed({}, BUCKETS)
    counts = Counter(f"w {word}" for word in words)
    counts.update(f"p {one} {other}" for one, other in pairwise(["^", *words, "$"]))
    for word in words:
        bound = f"<{word}>"
        counts.update(
            f"c {bound[first : first + size]}"
            for size in _LETTERS
            for first in range(len(bound) - size + 1)
            if word[0].islower()
        )
    counts.update(_groups(words))
    return hashed(
        {name: _WEIGHTS[name[0]] * (1.0 + log(count)) for name, count in counts.items()}, BUCKETS
    )


def _words(text: str) -> list[str]:
    """Plain words and signs; addresses and numbers stand for any others."""
    marked = _SITE.sub(" SITE ", _MAIL.sub(" MAIL ", plain(text)))
    return ["0" if word[0].isdigit() else word for word in _TOKEN.findall(marked)]


def _groups(words: Sequence[str]) -> Counter[str]:
    """Features of the groups of words, and of which stand near which."""
    groups = [_group(word) for word in words]
    counts: Counter[str] = Counter()
    for place, here in enumerate(groups):
        for one in here:
            counts[f"g {one}"] += 1
            if place < _BESIDE:
                counts[f"s {one}"] += 1
            for distance, there in enumerate(groups[place + 1 : place + 1 + _NEAR], 1):
                for other in there:
                    counts[f"d {one} {other}"] += 1
                    if distance <= _BESIDE:
                        counts[f"n {one} {other}"] += 1
        for beside, side in ((place - 1, "<"), (place + 1, ">")):
            if 0 <= beside < len(words):
                counts.update(f"x {words[place]} {side} {one}" for one in groups[beside])
    every = sorted({one for here in groups for one in here})
    counts.update(f"b {one} {other}" for one, other in combinations(every, 2))
    return counts


def _group(word: str) -> tuple[str, ...]:
    """The groups of a word; a sign or an address is a group of its own."""
    return groups_of(word) if word[0].islower() else (word,)
