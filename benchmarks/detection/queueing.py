"""How long concurrent callers of one guard wait: `python -m benchmarks.detection.queueing`.

Sixteen callers each bring another scene of the miniature. One guard serves them in order of
arrival; in a second one, the same scans compete. Also the time for a picture that the guard
remembers. The figures are ratios of elapsed times with 95% intervals, measured in turns in one
process; torch has one thread. If a scan differs from itself by more than 2%, the run is void: its
table says so, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from benchmarks.guards import without_memory
from benchmarks.results import RESULTS, write_json
from benchmarks.tables import Table, interval, table
from guardalign_middleware import GuardAlignConfig, ImageGuard
from guardalign_middleware.bench.device import processor
from guardalign_middleware.bench.timing import Comparison, comparison, is_noisy
from guardalign_middleware.cache import BoundedCache
from guardalign_middleware.detection.scan_queue import Entry, ScanQueue, Source
from guardalign_middleware.encode import png_bytes
from guardalign_middleware.mini.clutter import draw_cluttered_scene
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS
from guardalign_middleware.types import CanonicalImage

RESULT = RESULTS / "scan_queue.json"
CALLERS = 16
Stopwatch = Callable[[], tuple[float, ...]]
"""Does something and returns the seconds of its parts."""


class Competing(ScanQueue):
    """Not a queue: every caller scans at once."""

    def get_many(
        self,
        sources: Mapping[str, Source],
        scan: Callable[[list[Source]], list[Entry]],
        cache: BoundedCache[Entry],
        crops: int | None = None,
    ) -> dict[str, Entry]:
        """Scan now."""
        return dict(zip(sources, scan(list(sources.values())), strict=True))


def measure(pairs: int, callers: int = CALLERS) -> dict[str, Any]:
    """All comparisons.

    Args:
        pairs: rounds; at least 20 for published figures.
        callers: at once.
    """
    scenes = [_scene(number) for number in range(callers)]
    fair = ImageGuard.from_config(without_memory("mini"))
    competing = ImageGuard.from_config(without_memory("mini"))
    competing.detector.queue = Competing()
    remembering = ImageGuard.from_config(GuardAlignConfig.load("mini"))
    with ThreadPoolExecutor(callers) as pool:
        found = _compare(
            _seconds(lambda: fair.scan(scenes[0])),
            {
                ("a scan ÷ itself",): _seconds(lambda: fair.scan(scenes[0])),
                (
                    f"first of {callers} callers ÷ a scan",
                    f"all {callers} callers ÷ {callers} scans",
                ): lambda: _concurrent(pool, fair, scenes),
                (
                    f"without the queue: first of {callers} callers ÷ a scan",
                    f"without the queue: all {callers} callers ÷ {callers} scans",
                ): lambda: _concurrent(pool, competing, scenes),
            },
            pairs,
        )
    for name, scene in (("an unsafe", scenes[0]), ("a safe", scenes[1])):
        data = png_bytes(scene)  # decoding is part of both
        found += _compare(
            _seconds(lambda data=data: fair.sanitize(data)),  # type: ignore[misc]
            {
                (f"{name} picture seen before ÷ cleaning it anew",): _seconds(
                    lambda data=data: remembering.sanitize(data)  # type: ignore[misc]
                )
            },
            pairs,
        )
    return {
        "processor": processor(),
        "callers": callers,
        "comparisons": [vars(item) for item in found],
        "tables": {"scan_queue": queue_table(found)},
    }


def queue_table(found: Sequence[Comparison]) -> Table:
    """The table of the documentation."""
    rows = [[row.name, interval(row.ratio, row.low, row.high, ".3g")] for row in found]
    note = (
        f"`mini`, medians of {found[0].pairs} pairs, elapsed time on an {processor()}, one thread "
        "of torch. The callers bring pictures that differ."
    )
    if is_noisy(found[0].ratio):
        note = f"**Void: the machine was too noisy, measure again.** {note}"
    return table(["time", "ratio (95% interval)"], rows, note)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    result = measure(options.pairs)
    console = Console()
    for row in result["comparisons"]:
        console.print(f"{row['name']}: {interval(row['ratio'], row['low'], row['high'], '.3g')}")
    write_json(options.out, result)
    console.print(f"written: {options.out}")
    if is_noisy(result["comparisons"][0]["ratio"]):
        console.print("void: a scan differs from itself by more than 2%")
        sys.exit(1)


def _scene(number: int) -> CanonicalImage:
    """A scene; those of even numbers are unsafe."""
    rng = np.random.default_rng((17, number))
    scene = draw_cluttered_scene(rng, unsafe=number % 2 == 0, backgrounds=HELD_OUT_BACKGROUNDS)
    return CanonicalImage(scene.pixels)


def _seconds(call: Callable[[], object]) -> Stopwatch:
    def timed() -> tuple[float]:
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start,)

    return timed


def _concurrent(
    pool: ThreadPoolExecutor, guard: ImageGuard, scenes: Sequence[CanonicalImage]
) -> tuple[float, float]:
    """Seconds until the first caller has its verdict, and per caller until all have."""
    start = time.perf_counter()
    calls = [pool.submit(guard.scan, scene) for scene in scenes]
    wait(calls, return_when=FIRST_COMPLETED)
    first = time.perf_counter() - start
    for call in calls:
        call.result()
    return first, (time.perf_counter() - start) / len(scenes)


def _compare(
    base: Stopwatch, others: Mapping[tuple[str, ...], Stopwatch], pairs: int
) -> list[Comparison]:
    """Time several against one, in rounds of alternating direction (ABC, CBA)."""
    watches = {("",): base, **others}
    for warm_up in watches.values():
        warm_up()
    times: dict[str, list[float]] = {name: [] for names in watches for name in names}
    for index in range(pairs):
        for names, watch in list(watches.items())[:: 1 if index % 2 == 0 else -1]:
            for name, seconds in zip(names, watch(), strict=True):
                times[name].append(seconds)
    first = np.array(times.pop(""))
    return [comparison(name, first, np.array(own)) for name, own in times.items()]


if __name__ == "__main__":
    main()
