"""A scan by two actors of Ray against two processes: `python -m benchmarks.bulk.ray`.

Both scan the same drawn scenes with the miniature on this machine, in turns, in one run. The first
and the last block of every guard are left out, and with them the loading of models and the start
of the cluster. Each scan by Ray has a cluster of its own, so nothing of it runs beside the pool.
Run it in the environment of `make ray`. If the process pool differs from itself by more than 10%,
the run is void, and nothing is stored.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.results import RESULTS, write_json
from benchmarks.tables import Table, interval, table
from guardalign_middleware.bench.device import processor
from guardalign_middleware.bench.timing import Comparison, comparison
from guardalign_middleware.bulk.entries import find_inputs
from guardalign_middleware.bulk.job import Job, Outcome
from guardalign_middleware.bulk.pool import WorkerPool
from guardalign_middleware.bulk.work import Work
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.encode import png_bytes
from guardalign_middleware.mini.clutter import draw_cluttered_scene
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS
from guardalign_middleware.scale.cluster import joined
from guardalign_middleware.scale.engine import Actors
from guardalign_middleware.scale.reading import FILES
from guardalign_middleware.scale.scans import RayScans
from guardalign_middleware.types import CanonicalImage

RESULT = RESULTS / "ray_scan.json"
NOISE = 0.1
_GUARDS = 2
_MARGIN = _GUARDS * FILES
"""Results left out at either end. While one actor's block is awaited, another has done some of its
next one. That is as much at either end, so the time in between is that of the pictures counted."""


def measure(rounds: int, pictures: int) -> dict[str, Any]:
    """Both ways in turns.

    Args:
        rounds: of pool, Ray, Ray, pool.
        pictures: in each turn: a multiple of the margin, and more than both margins.

    Raises:
        ValueError: `pictures` is another number.
    """
    if pictures <= 2 * _MARGIN or pictures % _MARGIN:
        raise ValueError(
            f"pictures must be a multiple of {_MARGIN} above {2 * _MARGIN}. Got {pictures}."
        )
    # The actors are below all other processes by default, and the pool is not.
    os.environ["RAY_worker_niceness"] = "0"
    job = Job(GuardAlignConfig.load("mini"))
    times = np.empty((rounds, 2, 2))
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), pictures)

        def work() -> Work:
            return Work(find_inputs([folder], [], job.config.intake), job, "image", None)

        def pool() -> float:
            with WorkerPool(job, _GUARDS) as workers:
                return steady_seconds(workers.outcomes(work().entries()), pictures)

        def on_ray() -> float:
            left = work()
            with joined("local") as ray:
                scans = RayScans(ray, job, Actors(_GUARDS, _GUARDS))
                return steady_seconds(scans.outcomes(left, list(left.readings())), pictures)

        for one in times:
            one[0, 0], one[1, 0], one[1, 1], one[0, 1] = pool(), on_ray(), on_ray(), pool()
    found = comparison("Ray ÷ process pool", *times.mean(axis=2).T)
    itself = comparison("process pool ÷ itself", times[:, 0, 0], times[:, 0, 1])
    return {
        "processor": processor(),
        "pictures": pictures,
        "comparisons": [vars(itself), vars(found)],
        "tables": {"scale_ray": ray_table((itself, found), pictures)},
    }


def draw(folder: Path, count: int) -> None:
    """Write scenes as PNG files; every second one is unsafe."""
    for number in range(count):
        rng = np.random.default_rng((23, number))
        scene = draw_cluttered_scene(rng, unsafe=number % 2 == 0, backgrounds=HELD_OUT_BACKGROUNDS)
        (folder / f"{number:05}.png").write_bytes(png_bytes(CanonicalImage(scene.pixels)))


def steady_seconds(outcomes: Iterable[Outcome], count: int) -> float:
    """Seconds for each picture between the margins.

    Raises:
        RuntimeError: there are fewer outcomes, or one is an error.
    """
    ends = list(_ends(outcomes))
    if len(ends) != count:
        raise RuntimeError(f"{len(ends)} of {count} pictures were scanned.")
    return (ends[-_MARGIN - 1] - ends[_MARGIN - 1]) / (count - 2 * _MARGIN)


def _ends(outcomes: Iterable[Outcome]) -> Iterator[float]:
    for outcome in outcomes:
        if outcome.error is not None:
            raise RuntimeError(outcome.error)
        yield time.perf_counter()


def ray_table(comparisons: Sequence[Comparison], pictures: int) -> Table:
    """The table of the documentation: rates, which are the inverse of the times."""
    rows = [
        [one.name, interval(1.0 / one.ratio, 1.0 / one.high, 1.0 / one.low, ".2f")]
        for one in comparisons
    ]
    note = (
        f"`mini`, {pictures} scenes on an {processor()}, {_GUARDS} guards each; "
        f"{comparisons[0].pairs} rounds, elapsed time."
    )
    return table(["pictures a second", "ratio (95% interval)"], rows, note)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=192)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    result = measure(options.rounds, options.pictures)
    console = Console()
    for row in result["comparisons"]:
        console.print(f"{row['name']}: {interval(row['ratio'], row['low'], row['high'], '.3f')}")
    if abs(result["comparisons"][0]["ratio"] - 1.0) > NOISE:
        console.print("void: the process pool differs from itself by more than 10%")
        sys.exit(1)
    write_json(options.out, result)
    console.print(f"written: {options.out}")


if __name__ == "__main__":
    main()
