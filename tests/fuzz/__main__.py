"""Fuzz intake and messages for minutes: `python -m tests.fuzz --minutes 30`.

Each target gets its share of the time in its own process, with limits on memory and time. A case
that raises an untyped error or ends the process is a finding; a new process continues after it.
The exit status is 1 if anything was found. Findings are written to `fuzz-findings/`.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.targets import NAMES, target
from tests.fuzz.worker import MOST_FINDINGS, Progress, case_of, save

FINDINGS = Path("fuzz-findings")
_SHARES = {"intake": 5, "data-url": 1, "messages": 1, "langchain": 2, "llama-index": 2}
_SHARES |= {"presets": 2, "anchors": 1, "profiles": 1, "indexes": 1, "templates": 3}
_GRACE = 900.0
CPU_SECONDS = 20.0
"""Processor time that one case may use."""


def fuzz(
    name: str,
    seconds: float,
    start: int,
    *,
    cpu_seconds: float = CPU_SECONDS,
    folder: Path = FINDINGS,
) -> Progress:
    """Fuzz one target and print its progress; the findings are in `Progress.findings`."""
    folder.mkdir(parents=True, exist_ok=True)
    now = folder / f"{name}.now"
    now.unlink(missing_ok=True)
    total = Progress()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and len(total.findings) < MOST_FINDINGS:
        command = [name, start, left, cpu_seconds, folder]
        done, status, last = _one_process(list(map(str, command)), now, total.executions)
        _add(total, done)
        if status != 0:
            # Only the number of cases since its last report is known.
            untold = last - start - done.executions
            total.executions += untold + 1
            total.outcomes["not told"] += untold
            total.outcomes["ENDED THE PROCESS"] += 1
            case = case_of(name, target(name), last)
            total.findings.append(str(save(folder, name, last, case, _cause(status, cpu_seconds))))
        start = last + 1
    now.unlink(missing_ok=True)
    return total


def report(results: dict[str, Progress]) -> str:
    """The counts of all targets, as text."""
    lines = []
    for name, done in results.items():
        lines.append(
            f"{name}: {done.executions:,} executions, {len(done.findings)} findings; "
            f"slowest case {done.slowest:.2f} s of processor time (case {done.slowest_case}), "
            f"grown by at most {done.grown:.0f} MB"
        )
        lines += [f"  {count:>10,}  {outcome}" for outcome, count in done.outcomes.most_common()]
        lines += [f"  finding: {path}" for path in done.findings]
    executions = sum(done.executions for done in results.values())
    findings = sum(len(done.findings) for done in results.values())
    return "\n".join([*lines, f"together: {executions:,} executions, {findings} findings"])


def _one_process(arguments: list[str], now: Path, before: int) -> tuple[Progress, int, int]:
    """Run one process; return its progress, its status and the number of its last case."""
    command = [sys.executable, "-m", "tests.fuzz.worker", *arguments]
    done = Progress()
    told = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # A case that waits uses no processor time, so its limit would not end it.
        watchdog = threading.Timer(float(arguments[2]) + _GRACE, process.kill)
        watchdog.start()
        for line in process.stdout:
            facts = json.loads(line)
            done = Progress(**{**facts, "outcomes": Counter(facts["outcomes"])})
            if time.monotonic() - told >= 10.0:
                told = time.monotonic()
                _say(f"{arguments[0]}: {before + done.executions:,} executions")
        status = process.wait()
        watchdog.cancel()
    if not now.exists():
        raise SystemExit(f"This does not start: {' '.join(command)}")
    return done, status, struct.unpack("<Q", now.read_bytes())[0]


def _add(total: Progress, done: Progress) -> None:
    total.executions += done.executions
    total.outcomes += done.outcomes
    total.findings += done.findings
    total.grown = max(total.grown, done.grown)
    if done.slowest > total.slowest:
        total.slowest, total.slowest_case = done.slowest, done.slowest_case


def _cause(status: int, cpu_seconds: float) -> str:
    if status == -signal.SIGPROF:
        return f"The case took more than {cpu_seconds:g} seconds of processor time."
    name = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"The case ended the process with {name}."


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="for all targets together")
    parser.add_argument("--target", choices=NAMES, action="append", help="default: all")
    parser.add_argument("--start", type=int, help="number of the first case; default: random")
    parser.add_argument("--case", type=int, help="run one case of one target in this process")
    options = parser.parse_args(arguments)
    names = options.target or list(NAMES)
    if options.case is not None:
        (name,) = names
        _say(target(name).check(case_of(name, target(name), options.case)))
        return 0
    start = secrets.randbits(40) if options.start is None else options.start
    _say(f"first case: {start}")
    seconds = options.minutes * 60.0 / sum(_SHARES[name] for name in names)
    results = {name: fuzz(name, seconds * _SHARES[name], start) for name in names}
    _say(report(results))
    return int(any(done.findings for done in results.values()))


if __name__ == "__main__":
    sys.exit(main())
