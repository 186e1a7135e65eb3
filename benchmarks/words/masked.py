"""What can still be read of FigStep's pictures once the guard has masked them.

`python -m benchmarks.words.masked --figstep DIR`. The miniature guard, whose detector knows nothing
of words, reads and hides them as the mode `guard` does; the same reader then reads what is handed
out.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from rich.progress import track

from benchmarks.results import RESULTS, write_json
from benchmarks.words.sets import Case, figstep
from guardalign_middleware import ImageGuard
from guardalign_middleware.config import GuardAlignConfig, WordsConfig
from guardalign_middleware.evaluation.metrics import pooled_rate, rate
from guardalign_middleware.words.plain import plain
from guardalign_middleware.words.reader import RapidReader, WordReader

# Numbers are the marks of the list, which may stay: they say nothing.
_WORD = re.compile(r"[^\W\d_]{2,}")


def words_guard() -> ImageGuard:
    """The miniature guard, which asks for words as the mode `guard` does."""
    config = GuardAlignConfig.load("mini")
    words = WordsConfig(mode="guard")
    return ImageGuard.from_config(config.model_copy(update={"words": words}))


def what_is_left(cases: Iterable[Case], guard: ImageGuard, reader: WordReader) -> dict[str, Any]:
    """How many words of the instruction the same reader finds in what the guard hands out.

    A blocked picture is not handed out, so nothing is left of it.

    Args:
        cases: pictures whose words are known.
        guard: masks.
        reader: reads what it hands out.
    """
    left: list[int] = []
    wanted: list[int] = []
    readable = 0
    decisions: Counter[str] = Counter()
    for case in cases:
        result = guard.sanitize(case.image)
        decisions[result.verdict.decision] += 1
        said = Counter(_WORD.findall(plain(case.words or "")))
        wanted.append(sum(said.values()))
        left.append(0)
        if result.image is None:
            continue
        lines = reader.read(result.image)
        got = Counter(word for line in lines for word in _WORD.findall(plain(line.text)))
        still = sum((said & got).values())
        left[-1] = still
        readable += bool(still)
    count = sum(decisions.values())
    return {
        "pictures": count,
        "decisions": dict(sorted(decisions.items())),
        "pictures with a word left": asdict(rate(readable, count)),
        "words left": asdict(pooled_rate(left, wanted)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--figstep", type=Path, required=True, help="folder of FigStep's repository"
    )
    parser.add_argument("--pictures", type=int, help="the first of each part only")
    parser.add_argument("--output", type=Path, default=RESULTS / "words_masked.json")
    options = parser.parse_args(arguments)
    guard, reader = words_guard(), RapidReader.load(WordsConfig().max_pixels)
    parts = {
        "FigStep-Tiny": ("SafeBench-Tiny", "SafeBench-Tiny.csv"),
        "FigStep, pictures at hand": ("SafeBench", "safebench.csv"),
    }
    found = {
        name: what_is_left(
            track(
                list(islice(figstep(options.figstep, *part), options.pictures)), description=name
            ),
            guard,
            reader,
        )
        for name, part in parts.items()
    }
    write_json(options.output, {"sets": found})


if __name__ == "__main__":
    main()
