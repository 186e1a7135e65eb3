"""The process that runs cases under limits, silently, and reports its progress every second.

Called as `python -m tests.fuzz.worker TARGET START SECONDS CPU_SECONDS FOLDER`. The number of the
current case is in a memory-mapped file, so it is known even if a decoder ends the process.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import resource
import signal
import struct
import sys
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from tests.fuzz.seeds import seed_files
from tests.fuzz.targets import Target, target

MEMORY = 1 << 30
"""Address space in bytes that cases may use beyond what the process has at its start."""

MOST_FINDINGS = 20
_KEPT_INPUT = 1 << 20


@dataclass
class Progress:
    """The results so far.

    Attributes:
        executions: cases run.
        outcomes: how often each outcome came up.
        findings: the files that describe failing cases.
        slowest: processor seconds of the slowest case.
        slowest_case: its number.
        grown: largest growth of the process in megabytes.
    """

    executions: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest: float = 0.0
    slowest_case: int = 0
    grown: float = 0.0


def case_of(name: str, chosen: Target, number: int) -> Any:
    """The case with a number, always the same."""
    return chosen.make(random.Random(f"{name}:{number}"))


def save(folder: Path, name: str, number: int, case: Any, why: str) -> Path:
    """Save a failing case: what happened, and its input, as bytes if it is bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{number}.txt"
    again = f"python -m tests.fuzz --target {name} --case {number}"
    text = f"{again}\n\n{why}\n\n{_shown(case)[:_KEPT_INPUT]}\n"
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
    data = case[0] if isinstance(case, tuple) else case
    if isinstance(data, bytes):
        path.with_suffix(".bin").write_bytes(data)
    return path


def work(
    name: str, start: int, seconds: float, cpu_seconds: float, folder: Path, report: TextIO
) -> None:
    """Run cases from `start` on until the time is over, at least one.

    A case may use `cpu_seconds` of processor time, which other processes do not affect.
    """
    chosen = target(name)
    seed_files()  # loads Pillow's readers and writers, which should not count as memory of a case
    with (folder / f"{name}.now").open("w+b") as file:
        file.write(struct.pack("<Q", start))
        file.flush()
        now = mmap.mmap(file.fileno(), 8)
    _limit()
    end = time.monotonic() + seconds
    told = time.monotonic()
    before = _peak()
    progress = Progress()
    number = start
    while number == start or (time.monotonic() < end and len(progress.findings) < MOST_FINDINGS):
        now[:8] = struct.pack("<Q", number)
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        _run(name, chosen, number, folder, progress)
        signal.setitimer(signal.ITIMER_PROF, 0)
        number += 1
        if time.monotonic() - told >= 1.0:
            told = time.monotonic()
            progress.grown = _peak() - before
            _tell(progress, report)
    progress.grown = _peak() - before
    _tell(progress, report)


def _run(name: str, chosen: Target, number: int, folder: Path, progress: Progress) -> None:
    started = time.process_time()
    case = None
    try:
        case = case_of(name, chosen, number)
        outcome = chosen.check(case)
    except Exception:  # noqa: BLE001 - any untyped error is a finding
        outcome = "UNTYPED"
        progress.findings.append(str(save(folder, name, number, case, traceback.format_exc())))
    took = time.process_time() - started
    progress.executions += 1
    progress.outcomes[outcome] += 1
    if took > progress.slowest:
        progress.slowest, progress.slowest_case = took, number


def _limit() -> None:
    """Limit memory, and let the kernel end a case that takes too long, even inside a decoder."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (used,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmSize"))
    limit = used * 1024 + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _shown(case: Any) -> str:
    try:
        return repr(case)
    except RecursionError:
        return f"a {type(case).__name__} that is nested too deeply to be shown"


def _tell(progress: Progress, report: TextIO) -> None:
    report.write(json.dumps(vars(progress)) + "\n")
    report.flush()


def main() -> None:
    """Read the arguments and run; anything that libraries print is discarded."""
    name, start, seconds, cpu_seconds, folder = sys.argv[1:]
    report = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    warnings.simplefilter("ignore")
    work(name, int(start), float(seconds), float(cpu_seconds), Path(folder), report)


if __name__ == "__main__":
    main()
