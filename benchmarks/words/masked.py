"""What can still be read of a picture once the guard has masked it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from benchmarks.words.readings import Readings
from benchmarks.words.sets import Case
from guardalign_middleware import ImageGuard
from guardalign_middleware.config import GuardAlignConfig, WordsConfig
from guardalign_middleware.evaluation.metrics import rate
from guardalign_middleware.words.plain import plain

# Numbers are the marks of the list, which may stay: they say nothing.
_WORD = re.compile(r"[^\W\d_]{2,}")


def words_guard() -> ImageGuard:
    """The miniature guard, which asks for words as the mode `guard` does."""
    config = GuardAlignConfig.load("mini")
    words = WordsConfig(mode="guard")
    return ImageGuard.from_config(config.model_copy(update={"words": words}))


def what_is_left(cases: Iterable[Case], guard: ImageGuard, readings: Readings) -> dict[str, Any]:
    """How many words of the instruction the same reader finds in what the guard hands out.

    A blocked picture is not handed out, so nothing is left of it.

    Args:
        cases: pictures whose words are known.
        guard: masks.
        readings: read what it hands out.
    """
    left = wanted = readable = 0
    decisions: Counter[str] = Counter()
    for case in cases:
        result = guard.sanitize(case.image)
        decisions[result.verdict.decision] += 1
        said = Counter(_WORD.findall(plain(case.words or "")))
        wanted += sum(said.values())
        if result.image is None:
            continue
        lines = readings.read(result.image).lines
        got = Counter(word for line in lines for word in _WORD.findall(plain(line.text)))
        still = sum((said & got).values())
        left, readable = left + still, readable + bool(still)
    count = sum(decisions.values())
    return {
        "pictures": count,
        "decisions": dict(sorted(decisions.items())),
        "pictures with a word left": asdict(rate(readable, count)),
        "words left": asdict(rate(left, wanted)),
    }
