"""A long scan that is killed twice: `python -m benchmarks.bulk.soak DIR`.

Draws 100,000 small pictures, 1% of them damaged, unless they lie in DIR already, and scans them by
`guardalign scan --workers 2`. At a third and at two thirds, the scan is killed with SIGKILL and the
same command is run again. Checked at the end: each picture stands in the results exactly once,
those that are damaged as errors and no other, and no process is left. The memory of all processes
is sampled every two seconds; pages that they share count once (PSS).

With `--ray`, afterwards and in the environment of `make ray`, two actors of a cluster on this
machine scan the same pictures, are killed as often, and have to say the same of each as the
processes did.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.progress import Progress

from benchmarks.bulk.pictures import is_damaged, make, place
from benchmarks.results import RESULTS, write_json
from guardalign_middleware.bench.device import processor

RESULT, RAY_RESULT = RESULTS / "bulk_soak.json", RESULTS / "bulk_soak_ray.json"
PRESET = Path(__file__).parent / "preset.yaml"
WORKERS = 2
_EVERY = 2.0
"""Seconds between two samples of the memory."""
# Ray's agents look only now and then whether their node still runs.
_PATIENCE, _PATIENCE_WITH_RAY = 60.0, 300.0
_MISSING = 2
"""Exit status of a scan in which an input could not be read."""


class Run:
    """One run of the command, from the first process to the last.

    Args:
        command: of the scan.
        results: the file it appends to.
    """

    def __init__(self, command: Sequence[str], results: Path) -> None:
        # A thousand damaged pictures are named there.
        with results.with_suffix(".log").open("ab") as log:
            self._process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        self._results = results
        self._seen = 0
        self._lines = 0

    def samples(self) -> Iterator[tuple[int, float]]:
        """Lines of results and megabytes of all processes, until the command ends."""
        while self._process.poll() is None:
            yield self.lines(), _megabytes(self._process)
            time.sleep(_EVERY)

    def lines(self) -> int:
        """How many results there are."""
        if self._results.exists():
            with self._results.open("rb") as file:
                file.seek(self._seen)
                new = file.read()
            self._seen += len(new)
            self._lines += new.count(b"\n")
        return self._lines

    def kill(self, patience: float) -> None:
        """End the first process as a lack of memory would, and wait some seconds for the others."""
        others = self._process.children(recursive=True)
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        _, alive = psutil.wait_procs(others, timeout=patience)
        if alive:
            raise SystemExit(f"Processes outlived the scan: {alive}")

    def status(self) -> int:
        """The exit status; it has ended."""
        return int(self._process.wait())


def soak(
    pictures: Path, results: Path, count: int, progress: Progress, *, on_ray: bool = False
) -> dict[str, Any]:
    """Scan, kill twice, go on, and check; the figures."""
    command = [str(Path(sys.executable).with_name("guardalign")), "scan", str(pictures), "--json"]
    command += ["--resume", str(results), "--workers", str(WORKERS), "--preset", str(PRESET)]
    command += ["--ray", "local"] if on_ray else []
    task = progress.add_task("scanning", total=count)
    kills = [count // 3, 2 * count // 3]
    memory: list[list[float]] = []
    seconds = 0.0
    status = None
    while status is None:
        run, began = Run(command, results), time.monotonic()
        for lines, megabytes in run.samples():
            progress.update(task, completed=lines)
            memory.append([round(seconds + time.monotonic() - began, 1), lines, round(megabytes)])
            if kills and lines >= kills[0]:
                kills.pop(0)
                run.kill(_PATIENCE_WITH_RAY if on_ray else _PATIENCE)
                break
        else:
            status = run.status()
        seconds += time.monotonic() - began
    if kills or status != _MISSING:
        raise SystemExit(f"The scan ended with status {status} before it was killed twice.")
    return {"seconds": round(seconds), "memory": memory, **checked(pictures, results, count)}


def checked(pictures: Path, results: Path, count: int) -> dict[str, int]:
    """How many results there are of each decision.

    Raises:
        SystemExit: a picture is missing, stands there twice, or was not judged as it was drawn.
    """
    expected = {str(pictures / place(number)): number for number in range(count)}
    found: Counter[str] = Counter()
    decisions: Counter[str] = Counter()
    with results.open(encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            found[record["source"]] += 1
            decisions[record.get("decision", "error")] += 1
            if ("error" in record) != is_damaged(expected[record["source"]]):
                raise SystemExit(f"Not as it was drawn: {line[:300]}")
    if found != Counter(expected.keys()):
        raise SystemExit("Not every picture stands in the results exactly once.")
    return dict(decisions)


def verdicts(results: Path) -> dict[str, tuple[str | None, float | None]]:
    """Decision and distance of each picture; both None for one that could not be read."""
    found = {}
    with results.open(encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            found[record["source"]] = (record.get("decision"), record.get("distance"))
    return found


def growth(memory: Sequence[Sequence[float]], loaded: int) -> dict[str, float]:
    """Peak, and the slope of the memory over the results, once every process has begun to scan.

    Args:
        memory: seconds, lines of results, megabytes.
        loaded: results of a run before its memory counts.
    """
    rows = np.array(memory)
    # Each run begins with fewer processes and models that are still read.
    run = np.concatenate([[0], np.cumsum(np.diff(rows[:, 2]) < -0.3 * rows[:, 2].max())])
    firsts = np.array([rows[run == one, 1].min() for one in run])
    steady = rows[rows[:, 1] >= firsts + loaded]
    slope = float(np.polyfit(steady[:, 1], steady[:, 2], 1)[0])
    return {"peak_mb": float(rows[:, 2].max()), "mb_per_100000": round(slope * 1e5, 1)}


def _megabytes(process: psutil.Process) -> float:
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for the pictures and the results")
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--ray", action="store_true", help="by actors, after the processes")
    parser.add_argument("--json", type=Path, help="the figures")
    options = parser.parse_args()
    pictures, by_processes = options.folder / "pictures", options.folder / "results.jsonl"
    results = options.folder / "results_ray.jsonl" if options.ray else by_processes
    if options.ray and not by_processes.is_file():
        parser.error("scan by processes first: the same command without --ray")
    results.unlink(missing_ok=True)
    with Progress(console=Console(stderr=True)) as progress:
        drawn = progress.add_task("drawing", total=options.n)
        for _ in make(pictures, options.n, WORKERS):
            progress.advance(drawn, 1000)
        figures = soak(pictures, results, options.n, progress, on_ray=options.ray)
    if options.ray and verdicts(results) != verdicts(by_processes):
        raise SystemExit("Actors and processes differ about a picture.")
    figures |= growth(figures["memory"], options.n // 50)
    figures |= {"n": options.n, "workers": WORKERS, "processor": processor()}
    # A point a minute is enough to look at.
    figures["memory"] = figures["memory"][:: max(1, len(figures["memory"]) // 60)]
    write_json(options.json or (RAY_RESULT if options.ray else RESULT), figures)
    Console().print({name: value for name, value in figures.items() if name != "memory"})


if __name__ == "__main__":
    _main()
