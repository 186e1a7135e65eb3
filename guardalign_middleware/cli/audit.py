"""`guardalign audit`: verify a log, and compare its entries with the guard's verdicts today."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from guardalign_middleware.audit import (
    AuditEntry,
    Head,
    differences,
    entries_of,
    load_key,
    verify,
)
from guardalign_middleware.audit.lines import Step
from guardalign_middleware.audit.record import Result
from guardalign_middleware.cli.console import (
    ALLOWED,
    CANNOT,
    UNSAFE,
    err,
    out,
    print_error,
    print_json,
)
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.types import CanonicalImage

if TYPE_CHECKING:
    from guardalign_middleware.image_guard import ImageGuard


@dataclass(frozen=True)
class Replayed:
    """One entry of a log, and its fields that the guard does not reproduce."""

    source: str
    entry: AuditEntry
    changed: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "source": self.source,
            "number": self.entry.number,
            "time": self.entry.time,
            "step": self.entry.step,
            "decision": self.entry.decision,
            "same": not self.changed,
            "differences": list(self.changed),
        }


def run_verify(log: Path, *, key_file: Path, anchor: str | None, as_json: bool) -> int:
    """Check a log and print the result.

    Returns:
        The exit status: 0 if the log is intact, else 1.

    Raises:
        AuditError: the log, its head, the key or the anchor cannot be read.
    """
    key = load_key(key_file)
    report = verify(log, key, anchor=None if anchor is None else Head.parse(anchor))
    if as_json:
        print_json(report.to_json())
    elif report.intact:
        out().print(f"[green]intact[/] {escape(str(log))}: {report.entries} lines")
        out().print(f"head {report.head}  (keep it elsewhere and pass it as --anchor later)")
    else:
        out().print(f"[bold red]NOT intact[/] {escape(str(log))}: {report.entries} lines")
        for problem in report.problems:
            out().print(escape(str(problem)))
    return ALLOWED if report.intact else UNSAFE


def run_replay(
    log: Path, images: Sequence[str], *, key_file: Path, preset: str, as_json: bool
) -> int:
    """Guard images again and compare the results with all their entries; nothing is recorded.

    Returns:
        The exit status: 2 if an image cannot be read or has no entry, else 1 if a field of an entry
        differs, else 0.

    Raises:
        AuditError: the log or the key cannot be read, or a line was changed.
        ConfigError: the preset cannot be used.
        ModelLoadError: the encoder cannot be loaded.
    """
    from guardalign_middleware.image_guard import ImageGuard

    key = load_key(key_file)
    config = GuardAlignConfig.load(preset).model_copy(update={"audit": None})
    with err().status("loading the guard"):
        guard = ImageGuard.from_config(config)
    failed = changed = False
    for source in images:
        found = False
        try:
            for result in _replayed(guard, source, log, key):
                found = True
                changed = changed or bool(result.changed)
                if as_json:
                    print_json(result.to_json())
                else:
                    out().print(_line(result))
        except GuardAlignError as error:
            print_error(str(error))
            failed = True
            continue
        if not found:
            print_error(f"{log} has no entry for the image {source}.")
            failed = True
    if failed:
        return CANNOT
    return UNSAFE if changed else ALLOWED


def _replayed(guard: ImageGuard, source: str, log: Path, key: bytes) -> Iterator[Replayed]:
    for image in guard.load_frames(source):
        again: dict[tuple[Step, str | None], Result] = {}
        for entry in entries_of(log, image, key):
            how = entry.step, entry.draw
            if how not in again:
                again[how] = _guarded(guard, image, *how)
            changed = differences(entry, again[how], image, key)
            yield Replayed(image.source, entry, changed)


def _guarded(guard: ImageGuard, image: CanonicalImage, step: Step, seed: str | None) -> Result:
    ask = guard.sanitize if step == "sanitize" else guard.scan
    return ask(image, view_seed=seed)


def _line(result: Replayed) -> str:
    entry = result.entry
    head = f"line {entry.number + 1} of {entry.time}: {entry.step}, {entry.decision}"
    if not result.changed:
        return f"[green]same[/] {escape(result.source)}  {head}"
    return f"[bold red]DIFFERS[/] {escape(result.source)}  {head}; {', '.join(result.changed)}"
