"""Reading and verifying an audit log; only authenticated lines are trusted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from guardalign_middleware.audit.heads import head_path
from guardalign_middleware.audit.keys import Keys
from guardalign_middleware.audit.lines import (
    EMPTY,
    AuditEntry,
    Head,
    LineFault,
    could_follow,
    is_unfinished,
    parse_line,
)
from guardalign_middleware.audit.reading import Line, reading
from guardalign_middleware.errors import AuditError

ProblemKind = Literal["incomplete", "malformed", "edited", "out_of_order", "cut", "head"]

MOST_PROBLEMS: Final = 100

_FAULTS: dict[LineFault, str] = {
    "incomplete": "it is incomplete: it was cut",
    "malformed": "it was not written by this program",
    "edited": "it was changed, or written with a different key",
}


@dataclass(frozen=True)
class Problem:
    """A sign that a log was changed after it was written.

    Attributes:
        line: line number in the file, from 1; None for the log as a whole.
        kind: a stable code.
        message: an explanation.
        file: name of the file; None for the log as a whole.
    """

    line: int | None
    kind: ProblemKind
    message: str
    file: str | None = None

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.message}" if self.line else self.message


@dataclass(frozen=True)
class AuditFile:
    """One file of a log.

    Attributes:
        name: of the file.
        entries: number of lines.
        head: the end of the log with this file: the `start` once the file was moved away. None if
            its last line is not authentic.
    """

    name: str
    entries: int
    head: Head | None


@dataclass(frozen=True)
class AuditReport:
    """The result of `verify`.

    Attributes:
        entries: number of lines.
        head: the end of the log, to be kept elsewhere as an anchor; None if the log is not intact.
        problems: at most a hundred; empty if the log is intact.
        unfinished: bytes of lines that a stopped writer left behind. Nothing was reported as
            recorded in them, so the log is intact; the next write cuts them off.
        files: the files of the log, in order.
    """

    entries: int
    head: Head | None
    problems: tuple[Problem, ...]
    unfinished: int = 0
    files: tuple[AuditFile, ...] = ()

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
            "unfinished": self.unfinished,
            "files": [
                {**asdict(file), "head": None if file.head is None else str(file.head)}
                for file in self.files
            ],
        }


def verify(
    path: str | os.PathLike[str],
    key: bytes,
    *,
    anchor: Head | None = None,
    start: Head | None = None,
) -> AuditReport:
    """Check a whole log, with the files beside it that were closed before.

    The package's docstring lists what this detects.

    Args:
        path: the log file. With an anchor, its `.head` file may be missing, as in a copy.
        key: the key of the log; with a different key, every line is a problem.
        anchor: the head of an earlier verification, kept where the log's writer cannot change it.
        start: the head at the end of files that were moved away, kept like an anchor. Without it,
            the log has to begin with its first line.

    Raises:
        AuditError: the log or its head cannot be read, the key is weak, or the anchor is older
            than the start.
    """
    keys = Keys(key)
    log = Path(path)
    begin = start or EMPTY
    if anchor is not None and anchor.entries < begin.entries:
        raise AuditError(
            "The anchor is older than the start, so it proves nothing about these files.",
            remedy="Pass an anchor of these files, or an earlier start.",
        )
    with reading(log, keys, begin) as snapshot:
        kept = snapshot.head
        ends = [head for head in (anchor, kept) if isinstance(head, Head)]
        walk = _Walk(keys, begin, frozenset(head.entries for head in ends))
        for line in snapshot.lines():
            walk.take(line)
    walk.check_unfinished(kept if isinstance(kept, Head) else None)
    if anchor is not None:
        walk.check_end(anchor, "the anchor")
    if isinstance(kept, Head):
        walk.check_end(kept, "its head")
        if walk.count > kept.entries + 1:
            walk.report("head", "the head is older than the log: it was restored")
    elif kept == "damaged" or anchor is None:
        unknown = "so it is unknown whether lines were cut off"
        walk.report("head", f"{head_path(log)} is {kept}, {unknown}")
    head = Head(walk.count, walk.macs[walk.count]) if not walk.problems else None
    files = tuple(AuditFile(name, *counted) for name, counted in walk.files.items())
    return AuditReport(walk.seen, head, tuple(walk.problems), walk.unfinished, files)


def read_entries(
    path: str | os.PathLike[str], key: bytes, *, start: Head | None = None
) -> Iterator[AuditEntry]:
    """The entries of a log, in order and each verified; only `verify` also checks the end.

    Raises:
        AuditError: the log cannot be read, the key is weak, or a line was changed.
    """
    keys = Keys(key)
    walk = _Walk(keys, start or EMPTY, frozenset())
    with reading(Path(path), keys, start or EMPTY) as snapshot:
        for line in snapshot.lines():
            entry = walk.take(line)
            _require_intact(path, walk)
            if entry is not None:
                yield entry
        walk.check_unfinished(snapshot.head if isinstance(snapshot.head, Head) else None)
        _require_intact(path, walk)


def _require_intact(path: str | os.PathLike[str], walk: _Walk) -> None:
    if walk.problems:
        raise AuditError(
            f"The audit log {path} fails verification: {walk.problems[0]}.",
            remedy="Run `guardalign audit verify`, and check the key.",
        )


@dataclass
class _Walk:
    """A walk along the chain: its position, the MACs at `stops`, and the problems so far."""

    keys: Keys
    start: Head
    stops: frozenset[int]
    problems: list[Problem] = field(default_factory=list)
    files: dict[str, tuple[int, Head | None]] = field(default_factory=dict)
    seen: int = 0
    unfinished: int = 0

    def __post_init__(self) -> None:
        self.count = self.start.entries
        self.macs = {self.start.entries: self.start.mac}
        self._expected: Head | None = self.start
        self._open: Line | None = None

    def take(self, line: Line) -> AuditEntry | None:
        """The entry on the next line; None if it is unfinished, or a problem that was reported."""
        self._open = None
        before = self.files.get(line.file, (0, None))[0]
        if line.is_last and is_unfinished(line.data) and self._could_follow(line.data):
            # The next line or the head tells whether something is missing here.
            self.unfinished += len(line.data)
            self._open = line
            self.files.setdefault(line.file, (0, self._expected))
            return None
        self.seen += 1
        found = parse_line(line.data, self.keys)
        if not isinstance(found, AuditEntry):
            kind = "malformed" if found == "incomplete" and not line.is_last else found
            self.report(kind, _FAULTS[kind], line.file, before + 1)
            self.files[line.file] = before + 1, None
            # The line before the next one is unknown now.
            self._expected = None
            self.count += 1
            return None
        if self._expected not in {None, found.before}:
            self.report("out_of_order", self._gap(found), line.file, before + 1)
        if self.seen == 1 and found.number > self.start.entries:
            self.count = found.number
        self.count += 1
        self._expected = found.after
        self.files[line.file] = before + 1, found.after
        if self.count - 1 not in self.stops:
            self.macs.pop(self.count - 1, None)
        self.macs[self.count] = found.mac
        return found

    def check_unfinished(self, kept: Head | None) -> None:
        """Report an unfinished last line, unless the head shows that nothing was recorded in it."""
        if self._open is not None and (kept is None or kept.entries != self.count):
            place = self.files[self._open.file][0] + 1
            self.report("incomplete", _FAULTS["incomplete"], self._open.file, place)

    def check_end(self, head: Head, name: str) -> None:
        """Report lines that were cut off, or that are not those of a head."""
        if self.count < head.entries:
            message = (
                f"the log ends after {self.count} of the {head.entries} lines in {name}: they were "
                "cut off, or lost in a power failure without fsync"
            )
            self.report("cut", message)
        elif self.macs.get(head.entries) != head.mac:
            message = f"line {head.entries} does not match {name}"
            self.report("head", message)

    def report(
        self, kind: ProblemKind, message: str, file: str | None = None, line: int | None = None
    ) -> None:
        """Keep a problem, of the log as a whole unless a line of a file is named."""
        # With a wrong key, every one of a million lines would be a problem.
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(line, kind, message, file))

    def _could_follow(self, data: bytes) -> bool:
        return self._expected is not None and could_follow(data, self._expected)

    def _gap(self, found: AuditEntry) -> str:
        missing = found.number - self.start.entries
        if self.seen == 1 and missing > 0:
            return (
                f"the {missing} lines before it are missing; if you moved older files away, pass "
                "the head at their end with --start"
            )
        return "it does not follow the line before: lines were removed, added or moved"
