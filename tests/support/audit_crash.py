"""Stops the writer of an audit log everywhere, and checks that the log goes on and stays intact.

A script, because it forks: `python -m tests.support.audit_crash FOLDER KIND`. It prints how many
writers were stopped, and each state that was not as it should be.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from guardalign_middleware import audit
from guardalign_middleware.audit import AuditLog, verify
from guardalign_middleware.errors import AuditError
from tests.support.audit_logs import KEY, verdict_number, write, write_unnamed

CODE = str(Path(audit.__file__).parent)
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "durable": {"fsync": True},
    "rotating": {"rotate_bytes": 1},
    "behind": {},
    "unfinished": {},
}
LINES = 3


def base(folder: Path, kind: str) -> tuple[Path, int]:
    """A log of a few lines and how many of them are whole."""
    log = folder / "base" / "log"
    log.parent.mkdir()
    write(log, LINES, **OPTIONS[kind])
    if kind == "behind":
        write_unnamed(log)
        return log, LINES + 1
    if kind == "unfinished":
        size = log.stat().st_size
        write_unnamed(log)
        os.truncate(log, size + 200)
    return log, LINES


def killed_at_line(place: int) -> Callable[[], None]:
    """Kills this process before a line of the audit package runs."""
    seen = 0

    def local(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == place:
                os.kill(os.getpid(), signal.SIGKILL)
        return local

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        return local if frame.f_code.co_filename.startswith(CODE) else None

    return lambda: sys.settrace(trace)


def killed_at_byte(place: int) -> Callable[[], None]:
    """Kills this process once it has written so many bytes, to whichever file."""
    left = place
    write_some = os.write

    def write(file: int, data: Any) -> int:
        nonlocal left
        done = write_some(file, data[:left])
        left -= done
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    return lambda: setattr(os, "write", write)


def limited_to(size: int) -> Callable[[], None]:
    """Makes every file end at so many bytes, as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def append(log: Path, options: dict[str, Any], prepare: Callable[[], None]) -> bool:
    """Append in a process that `prepare` disturbs; whether it came to its end."""
    writer = AuditLog(log, KEY, **options)
    verdict = verdict_number(7)
    child = os.fork()
    if child == 0:
        prepare()
        try:
            writer.append(verdict)
        except AuditError:
            os._exit(1)
        sys.settrace(None)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def checked(log: Path, options: dict[str, Any], whole: int, done: bool) -> str:
    """What is wrong with a log after a writer was stopped; empty if nothing is."""
    report = verify(log, KEY)
    if not report.intact:
        return f"cries tampering: {report.problems[0]}"
    if report.entries not in ({whole + 1} if done else {whole, whole + 1}):
        return f"{report.entries} lines"
    AuditLog(log, KEY, **options).append(verdict_number(8))
    after = verify(log, KEY)
    if not after.intact or after.unfinished:
        return f"does not go on: {after}"
    return "" if after.entries == report.entries + 1 else f"{after.entries} lines at last"


def main(folder: Path, kind: str, how: str) -> None:
    """Stop the writer at each place until it comes to its end."""
    logging.disable(logging.WARNING)
    original, whole = base(folder, kind)
    kill, step, last = {
        "line": (killed_at_line, 1, 2_000),
        "byte": (killed_at_byte, 41, 2_000),
        "disk": (limited_to, 37, original.stat().st_size + 1_200),
    }[how]
    stopped, wrong = 0, []
    for place in range(0 if how == "disk" else 1, last, step):
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(original.parent, copy)
        done = append(copy / "log", OPTIONS[kind], kill(place))
        stopped += not done
        if problem := checked(copy / "log", OPTIONS[kind], whole, done):
            wrong.append(f"{how} {place}: {problem}")
        if done and how != "disk":
            break
    sys.stdout.write(json.dumps({"stopped": stopped, "done": done, "wrong": wrong}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
