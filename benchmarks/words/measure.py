"""What is read and found in pictures of words: `python -m benchmarks.words.measure --figstep DIR`.

Reads the drawn sets, and FigStep's and MOSSBench's real pictures from folders laid out as
published (github.com/ThuCCSLab/FigStep, MIT; github.com/xirui-li/MOSSBench, CC BY-SA 4.0, for tests
only). No number was fitted on the reported ones; the rules for carriers know how FigStep's titles
begin. With `--readings` a run that was stopped goes on where it
was: reading is nearly all of the work.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

from rich.console import Console
from rich.progress import track

from benchmarks.results import RESULTS, write_json
from benchmarks.words.readings import Reading, Readings
from benchmarks.words.sets import Case, drawn, figstep, mossbench
from guardalign_middleware.config import WordsConfig
from guardalign_middleware.evaluation.metrics import pooled_rate, rate
from guardalign_middleware.words.judge import LineJudge
from guardalign_middleware.words.plain import plain
from guardalign_middleware.words.reader import RapidReader
from guardalign_middleware.words.standard_judge import standard_judge

_WORD = re.compile(r"[^\W_]+")
_Part = Literal["carrier", "injection", "harm", "injection_classifier"]
SHIPPED = "mode guard"
_ALONE: dict[str, _Part] = {
    "carrier": "carrier",
    "injection": "injection",
    "classifier: harm": "harm",
    "classifier: injection": "injection_classifier",
}
_TOGETHER = {
    "any form": ("carrier", "injection"),
    "any classifier": ("classifier: harm", "classifier: injection"),
}


def judges() -> dict[str, LineJudge]:
    """What the mode guard asks, and each part of it with the others off."""
    parts = get_args(_Part)
    alone = {
        arm: standard_judge(**{part: "mask" if part == one else None for part in parts})
        for arm, one in _ALONE.items()
    }
    return {SHIPPED: standard_judge(), **alone}


def words_read(said: str, reading: Reading) -> tuple[int, int]:
    """How many of the words that stand in a picture were read, and how many there are.

    Words are compared without case, accents and punctuation, each as often as it stands there.
    """
    wanted = Counter(_WORD.findall(plain(said)))
    got = Counter(word for line in reading.lines for word in _WORD.findall(plain(line.text)))
    return sum((wanted & got).values()), sum(wanted.values())


def measured(
    cases: Iterable[Case], readings: Readings, asked: Mapping[str, LineJudge]
) -> dict[str, Any]:
    """The figures of one set.

    Args:
        cases: its pictures.
        readings: read them.
        asked: judges by arm.
    """
    flagged: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    groups: dict[str, list[bool]] = {}
    read: list[int] = []
    total: list[int] = []
    count = 0
    seconds = []
    for case in cases:
        reading = readings.read(case.image)
        count += 1
        seconds.append(reading.cpu_seconds)
        if case.words is not None:
            hits, wanted = words_read(case.words, reading)
            read.append(hits)
            total.append(wanted)
        for question, tally in ((case.question, flagged), ("", alone)):
            hit = {
                arm: any(one.unsafe for one in judge.judge(reading.lines, question))
                for arm, judge in asked.items()
            }
            hit |= {name: any(hit[arm] for arm in arms) for name, arms in _TOGETHER.items()}
            tally.update(arm for arm, value in hit.items() if value)
            if question:
                groups.setdefault(case.group, []).append(hit[SHIPPED])
    return {
        "pictures": count,
        "words read": asdict(pooled_rate(read, total)) if read else None,
        "flagged": {arm: asdict(rate(flagged[arm], count)) for arm in (*asked, *_TOGETHER)},
        "flagged without the question": asdict(rate(alone[SHIPPED], count)),
        "flagged by group": {
            name: {"flagged": sum(hits), "pictures": len(hits)}
            for name, hits in sorted(groups.items())
        },
        "median CPU seconds a picture": round(median(seconds), 3),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figstep", type=Path, help="folder of FigStep's repository")
    parser.add_argument("--mossbench", type=Path, help="folder of MOSSBench's repository")
    parser.add_argument("--readings", type=Path, help="file in which readings are kept")
    parser.add_argument("--harmless", type=int, default=312, help="harmless pictures of words")
    parser.add_argument("--held-out", type=int, help="the first screenshots of each kind only")
    parser.add_argument("--output", type=Path, default=RESULTS / "words.json")
    options = parser.parse_args(arguments)
    readings = Readings(RapidReader.load(WordsConfig().max_pixels), options.readings)
    asked = judges()
    sets: dict[str, Iterable[Case]] = {}
    if options.figstep is not None:
        tiny = figstep(options.figstep, "SafeBench-Tiny", "SafeBench-Tiny.csv")
        full = figstep(options.figstep, "SafeBench", "safebench.csv")
        sets |= {"FigStep-Tiny": tiny, "FigStep, pictures at hand": full}
    sets |= {
        "held-out screenshots with an order": drawn("held-out orders", options.held_out),
        "held-out harmless screenshots": drawn("held-out screens", options.held_out),
        "harmless titles in FigStep's form": drawn("twins"),
        "harmless pictures of words": drawn("harmless", options.harmless),
    }
    if options.mossbench is not None:
        sets["MOSSBench, pictures at hand"] = mossbench(options.mossbench)
    found = {
        name: measured(track(list(cases), description=name), readings, asked)
        for name, cases in sets.items()
    }
    write_json(options.output, {"sets": found})
    for name, figures in found.items():
        flagged = figures["flagged"][SHIPPED]
        Console().print(f"{name}: {figures['pictures']} pictures, flagged {flagged['value']:.3f}")


if __name__ == "__main__":
    main()
