"""`guardalign audit`: verify a log, and compare its entries with the guard's verdicts today."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardalign_middleware.audit import (
    AuditEntry,
    AuditReport,
    Head,
    differences,
    entries_of,
    repair,
    verify,
)
from guardalign_middleware.audit.keys import key_from
from guardalign_middleware.audit.lines import Step
from guardalign_middleware.audit.record import Result
from guardalign_middleware.cli.console import (
    ALLOWED,
    CANNOT,
    UNSAFE,
    err,
    out,
    plain,
    print_error,
    print_json,
)
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.errors import AuditError, GuardAlignError
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


def read_key(key_file: Path | None, key_variable: str | None) -> bytes:
    """The key of a log, from a file or from a variable of the environment.

    Raises:
        AuditError: neither or both are given, or the key cannot be read or is weak.
    """
    if (key_file is None) == (key_variable is None):
        raise AuditError(
            "Exactly one of --key-file and --key-variable should be given.",
            remedy="Name the file of the key, or the variable that holds it.",
        )
    return key_from(key_file, key_variable)


def run_verify(
    log: Path, key: bytes, *, anchor: str | None, start: str | None, as_json: bool
) -> int:
    """Check a log and print the result.

    Returns:
        The exit status: 0 if the log is intact, 1 if it is not, 2 if it cannot be read.

    Raises:
        AuditError: the anchor or the start is malformed, or the key is weak.
    """
    heads = {"anchor": _head(anchor), "start": _head(start)}
    try:
        report = verify(log, key, **heads)
    except AuditError as error:
        print_error(str(error))
        return CANNOT
    if as_json:
        print_json(report.to_json())
    else:
        _show(log, report)
    return ALLOWED if report.intact else UNSAFE


def _show(log: Path, report: AuditReport) -> None:
    name = plain(str(log))
    if report.intact:
        out().print(f"[green]intact[/] {name}: {report.entries} lines")
    else:
        out().print(f"[bold red]NOT intact[/] {name}: {report.entries} lines")
        for problem in report.problems:
            out().print(plain(str(problem)))
    if len(report.files) > 1:
        for file in report.files:
            out().print(f"{plain(file.name)}: {file.entries} lines, up to {file.head}")
    if report.unfinished:
        out().print(
            f"{report.unfinished} bytes of an unfinished line: the writer was stopped, and nothing "
            "was recorded in them. The next write or `guardalign audit repair` cuts them off."
        )
    if report.intact:
        out().print(f"head {report.head}  (keep it elsewhere and pass it as --anchor later)")


def run_repair(log: Path, key: bytes, *, as_json: bool) -> int:
    """Cut off what follows the last recorded line of a log, and print what it was.

    Returns:
        The exit status 0.

    Raises:
        AuditError: the log cannot be repaired; nothing was changed.
    """
    done = repair(log, key)
    beginning = done.beginning.decode("utf-8", "backslashreplace")
    if as_json:
        print_json(
            {
                "entries": done.entries,
                "cut": done.cut,
                "beginning": beginning,
                "kept_in": None if done.kept_in is None else str(done.kept_in),
                "by_crash": done.by_crash,
                "named": done.named,
            }
        )
        return ALLOWED
    name = plain(str(log))
    if done.named:
        out().print(f"{name}: line {done.entries} was whole, but not in the head yet; it is now")
    if done.cut:
        cause = "left by a stopped writer" if done.by_crash else "NOT written by this program"
        out().print(f"{name}: {done.cut} bytes cut off behind line {done.entries}, {cause}:")
        out().print(plain(beginning))
        out().print(f"kept in {plain(str(done.kept_in))}")
    if not (done.named or done.cut):
        out().print(f"{name}: nothing to repair")
    out().print("Run `guardalign audit verify` to check all lines.")
    return ALLOWED


def _head(text: str | None) -> Head | None:
    return None if text is None else Head.parse(text)


def run_replay(
    log: Path,
    images: Sequence[str],
    key: bytes,
    *,
    start: str | None,
    preset: str,
    as_json: bool,
) -> int:
    """Guard images again and compare the results with all their entries; nothing is recorded.

    Returns:
        The exit status: 2 if an image cannot be read or has no entry, else 1 if a field of an entry
        differs, else 0.

    Raises:
        AuditError: the log or the start cannot be read, or a line was changed.
        ConfigError: the preset cannot be used.
        ModelLoadError: the encoder cannot be loaded.
    """
    from guardalign_middleware.image_guard import ImageGuard

    begin = _head(start)
    config = GuardAlignConfig.load(preset).model_copy(update={"audit": None})
    with err().status("loading the guard"):
        guard = ImageGuard.from_config(config)
    failed = changed = False
    for source in images:
        found = False
        try:
            for result in _replayed(guard, source, log, key, begin):
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


def _replayed(
    guard: ImageGuard, source: str, log: Path, key: bytes, start: Head | None
) -> Iterator[Replayed]:
    for image in guard.load_frames(source):
        again: dict[tuple[Step, str | None], Result] = {}
        for entry in entries_of(log, image, key, start=start):
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
        return f"[green]same[/] {plain(result.source)}  {head}"
    return f"[bold red]DIFFERS[/] {plain(result.source)}  {head}; {', '.join(result.changed)}"
