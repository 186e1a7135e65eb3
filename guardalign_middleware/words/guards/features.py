"""Hashed n-grams of words and letters: what the classifier of harm sees of a text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.words.plain import plain

Features = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Different buckets `[N]`, and their values `[N]`, which form a unit vector; empty for no words."""

BUCKETS = 2**16
VERSION = "1"
"""Changes with anything that changes a feature; the weights name the version they are for."""
_WORD = re.compile(r"\w+")
_LETTERS = (3, 4, 5)


def features(text: str) -> Features:
    """Buckets of a text's n-grams, and their values, which form a unit vector.

    N-grams are words, pairs of words, and 3 to 5 letters of each word with its bounds, so that a
    text with a few letters misread or spaces missing keeps most of them. A value is 1 + ln(count).

    Returns:
        Different buckets `[N]` in 0..BUCKETS − 1, and values `[N]`; empty for a text without words.
    """
    words = _WORD.findall(plain(text))
    grams: Counter[str] = Counter(f"w {word}" for word in words)
    grams.update(f"p {one} {two}" for one, two in zip(words, words[1:], strict=False))
    # Word by word of the different ones: a long text has each of them many times.
    for word, count in Counter(words).items():
        bound = f"<{word}>"
        for size in _LETTERS:
            for first in range(len(bound) - size + 1):
                grams[f"c {bound[first : first + size]}"] += count
    values = {count: 1.0 + float(np.log(count)) for count in set(grams.values())}
    return hashed({gram: values[count] for gram, count in grams.items()}, BUCKETS)


def hashed(named: Mapping[str, float], buckets: int) -> Features:
    """Named features in so many buckets, scaled to a unit vector."""
    summed: dict[int, float] = {}
    for name, value in named.items():
        bucket = crc32(name.encode()) % buckets
        summed[bucket] = summed.get(bucket, 0.0) + value
    places = np.fromiter(summed, dtype=np.int64, count=len(summed))
    values = np.fromiter(summed.values(), dtype=np.float32, count=len(summed))
    norm = float(np.linalg.norm(values))
    return places, values / np.float32(norm) if norm else values
