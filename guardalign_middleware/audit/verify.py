"""Reading and verifying an audit log; only authenticated lines are trusted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from guardalign_middleware.audit.lines import (
    EMPTY,
    AuditEntry,
    Head,
    Keys,
    LineFault,
    parse_line,
)
from guardalign_middleware.audit.storage import head_path, reading
from guardalign_middleware.errors import AuditError

ProblemKind = Literal["incomplete", "malformed", "edited", "out_of_order", "cut", "head"]

MOST_PROBLEMS: Final = 100

_FAULTS: dict[LineFault, str] = {
    "incomplete": "it is incomplete: it was cut, or its writer was killed",
    "malformed": "it was not written by this program",
    "edited": "it was changed, or written with a different key",
}


@dataclass(frozen=True)
class Problem:
    """A sign that a log was changed after it was written.

    Attributes:
        line: line number, from 1; None for the log as a whole.
        kind: a stable code.
        message: an explanation.
    """

    line: int | None
    kind: ProblemKind
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


@dataclass(frozen=True)
class AuditReport:
    """The result of `verify`.

    Attributes:
        entries: number of lines.
        head: the end of the log, to be kept elsewhere as an anchor; None if the log is not intact.
        problems: at most a hundred; empty if the log is intact.
    """

    entries: int
    head: Head | None
    problems: tuple[Problem, ...]

    @property
    def intact(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "intact": self.intact,
            "entries": self.entries,
            "head": None if self.head is None else str(self.head),
            "problems": [asdict(problem) for problem in self.problems],
        }


def verify(path: str | os.PathLike[str], key: bytes, *, anchor: Head | None = None) -> AuditReport:
    """Check a whole log; the package's docstring lists what this detects.

    Args:
        path: the log file. With an anchor, its `.head` file may be missing, as in a copy.
        key: the key of the log; with a different key, every line is a problem.
        anchor: the head of an earlier verification, kept where the log's writer cannot change it.

    Raises:
        AuditError: the log or its head cannot be read, or the key is too short.
    """
    keys = Keys(key)
    log = Path(path)
    with reading(log, keys) as (lines, kept):
        ends = [head for head in (anchor, kept) if isinstance(head, Head)]
        walk = _Walk(keys, frozenset(head.entries for head in ends))
        for line in lines:
            walk.take(line)
    if anchor is not None:
        walk.check_end(anchor, "the anchor")
    if isinstance(kept, Head):
        walk.check_end(kept, "its head")
        if walk.count > kept.entries + 1:
            walk.report(None, "head", "the head is older than the log: it was restored")
    elif kept == "damaged" or anchor is None:
        unknown = "so it is unknown whether lines were cut off"
        walk.report(None, "head", f"{head_path(log)} is {kept}, {unknown}")
    intact = not walk.problems
    head = Head(walk.count, walk.macs[walk.count]) if intact else None
    return AuditReport(walk.count, head, tuple(walk.problems))


def read_entries(path: str | os.PathLike[str], key: bytes) -> Iterator[AuditEntry]:
    """The entries of a log, in order and each verified; only `verify` also checks the end.

    Raises:
        AuditError: the log cannot be read, the key is too short, or a line was changed.
    """
    keys = Keys(key)
    walk = _Walk(keys, frozenset())
    with reading(Path(path), keys) as (lines, _):
        for line in lines:
            entry = walk.take(line)
            if entry is None or walk.problems:
                raise AuditError(
                    f"The audit log {path} fails verification: {walk.problems[0]}.",
                    remedy="Run `guardalign audit verify`, and check the key.",
                )
            yield entry


@dataclass
class _Walk:
    """A walk along the chain: its position, the MACs at `stops`, and the problems so far."""

    keys: Keys
    stops: frozenset[int]
    count: int = 0
    problems: list[Problem] = field(default_factory=list)
    macs: dict[int, str] = field(default_factory=lambda: {0: EMPTY.mac})
    _expected: Head | None = EMPTY

    def take(self, line: bytes) -> AuditEntry | None:
        self.count += 1
        found = parse_line(line, self.keys)
        if not isinstance(found, AuditEntry):
            self.report(self.count, found, _FAULTS[found])
            # The line before the next one is unknown now.
            self._expected = None
            return None
        if self._expected not in {None, Head(found.number, found.previous)}:
            message = "it does not follow the line before: lines were removed, added or moved"
            self.report(self.count, "out_of_order", message)
        self._expected = Head(found.number + 1, found.mac)
        if self.count - 1 not in self.stops:
            self.macs.pop(self.count - 1, None)
        self.macs[self.count] = found.mac
        return found

    def check_end(self, head: Head, name: str) -> None:
        if self.count < head.entries:
            message = f"the log ends after {self.count} of the {head.entries} lines in {name}"
            self.report(None, "cut", message)
        elif self.macs.get(head.entries) != head.mac:
            message = f"line {head.entries} does not match {name}"
            self.report(None, "head", message)

    def report(self, line: int | None, kind: ProblemKind, message: str) -> None:
        # With a wrong key, every one of a million lines would be a problem.
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(line, kind, message))
