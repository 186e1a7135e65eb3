"""`guardalign scan`: one verdict for each image, frame or page, one line for each failed input."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardalign_middleware.cli.console import (
    ALLOWED,
    CANNOT,
    STYLES,
    err,
    make_folder,
    out,
    plain,
    print_error,
    print_json,
    status_of,
    tracked,
)
from guardalign_middleware.cli.sources import STDIN, look, report_skipped
from guardalign_middleware.config import GuardAlignConfig, IntakePolicy, WordsMode
from guardalign_middleware.errors import ConfigError, GuardAlignError, GuardError, ImageRejected
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.intake.pdf import page_label
from guardalign_middleware.overlay import draw_overlay, words_read
from guardalign_middleware.types import CanonicalImage, Verdict

if TYPE_CHECKING:
    from guardalign_middleware.cli.resume import ResumeFile

_LONGEST_STEM = 60
_BYTES = "<bytes>"


def run_scan(
    paths: Sequence[str],
    *,
    as_json: bool,
    overlay: Path | None,
    resume: Path | None,
    preset: str,
    words: WordsMode | None = None,
) -> int:
    """Scan files and folders, and print the results as they come.

    Args:
        paths: of files and folders.
        as_json: print JSON lines.
        overlay: folder for pictures of the verdicts; None = none.
        resume: file that results are appended to, and that says what was scanned; None = none.
        preset: of the guard.
        words: what becomes of words; None = as the preset says.

    Returns:
        The exit status: 2 if an input could not be scanned, else 1 if one is unsafe, else 0. With
        `resume`, inputs that were scanned before count as well.

    Raises:
        ConfigError: the preset, the overlay folder or the file to resume cannot be used.
        ModelLoadError: the encoder cannot be loaded.
        AuditError: a verdict cannot be recorded.
    """
    folder = None if overlay is None else make_folder(overlay)
    config = GuardAlignConfig.load(preset)
    if words is not None:
        read = config.words.model_copy(update={"mode": words})
        config = config.model_copy(update={"words": read})
    sources, statuses = _sources(paths, config.intake)
    with ExitStack() as stack:
        file = None
        if resume is not None:
            # Imported on use: it needs POSIX locks.
            from guardalign_middleware.cli.resume import ResumeFile

            file = stack.enter_context(ResumeFile.open(resume))
        todo = []
        for number, source in enumerate(sources, start=1):
            status = _earlier(file, source)
            if status is None:
                todo.append((number, source))
            else:
                statuses.add(status)
        if len(todo) < len(sources):
            done = len(sources) - len(todo)
            err().print(
                f"{done:,} of {len(sources):,} inputs stand in {plain(str(resume))} already"
            )
        if todo:
            with err().status("loading the guard"):
                guard = ImageGuard.from_config(config)
            if file is not None and guard.detector.profile is not None:
                file.check_profile(guard.detector.profile.fingerprint)
            scan = _Scan(guard, as_json, folder, file)
            for number, source in tracked(todo, "scanning"):
                statuses.add(scan.one(number, source))
    return max(statuses)


def _sources(paths: Sequence[str], policy: IntakePolicy) -> tuple[list[str], set[int]]:
    """All inputs, and the statuses so far."""
    sources: list[str] = []
    statuses = {ALLOWED}
    for path in paths:
        try:
            found = look(path, policy)
        except ImageRejected as error:
            print_error(str(error))
            statuses.add(CANNOT)
            continue
        sources += found.sources
        report_skipped(found.skipped)
        for closed in found.unreadable:
            print_error(str(closed))
            statuses.add(CANNOT)
    return sources, statuses


@dataclass(frozen=True)
class _Scan:
    """How each input is scanned, and where its results go."""

    guard: ImageGuard
    as_json: bool
    folder: Path | None
    file: ResumeFile | None

    def one(self, number: int, source: str) -> int:
        """Scan one input, and return the exit status for it."""
        status = _earlier(self.file, source)
        if status is not None:
            return status  # named twice
        try:
            frames = _load(self.guard, source)
            verdicts = self.guard.scan_many(frames)
        except (ImageRejected, GuardError) as error:
            message = _located(source, error)
            self._keep(source, [{"source": _label(source), "error": message}])
            print_error(message)
            return CANNOT
        records = [
            _to_record(verdict, index, len(frames))
            for index, verdict in enumerate(verdicts, start=1)
        ]
        self._keep(source, records)
        results = zip(frames, verdicts, records, strict=True)
        for index, (image, verdict, record) in enumerate(results, start=1):
            if self.as_json:
                print_json(record)
            else:
                out().print(describe(verdict))
            if self.folder is not None:
                name = f"{number:04d}-{_stem(source)}"
                name += f"-{index}.png" if len(frames) > 1 else ".png"
                _save_overlay(image, verdict, self.folder / name)
        return max(map(status_of, records))

    def _keep(self, source: str, records: Sequence[Mapping[str, Any]]) -> None:
        if self.file is not None:
            self.file.add(source, records)


def describe(verdict: Verdict) -> str:
    """One line of rich markup for a person."""
    style = STYLES[verdict.decision]
    if verdict.fault is not None:
        return f"[bold red]fault[/] {plain(verdict.source)}  not scanned: {plain(verdict.fault)}"
    sign = "<=" if verdict.distance <= verdict.threshold else ">"
    line = (
        f"[{style}]{verdict.decision:5}[/] {plain(verdict.source)}  {plain(verdict.category)} "
        f"{verdict.distance:.3f} {sign} {verdict.threshold:.3f}"
    )
    boxes = ", ".join(
        f"{plain(region.category)} at {region.box}"
        + (" (by its words)" if region.kind == "words" else "")
        + (" (only reported)" if region.action == "flag" else "")
        for region in verdict.regions
    )
    read = "" if verdict.words is None else words_read(verdict.words)
    return "  ".join(part for part in (line, boxes, read) if part)


def _save_overlay(image: CanonicalImage, verdict: Verdict, path: Path) -> None:
    try:
        draw_overlay(image, verdict).save(path)
    except OSError as error:
        # Half a picture would look like a result.
        with suppress(OSError):
            path.unlink()
        raise ConfigError(
            f"Cannot write the overlay {path}: {error.strerror}.", remedy="Name another folder."
        ) from error


def _to_record(verdict: Verdict, number: int, count: int) -> dict[str, Any]:
    """The JSON line of an image; a frame or page has its number, and the file as its source."""
    record = verdict.to_json()
    file = verdict.source.removesuffix(page_label("", number))
    if file != verdict.source:
        return {**record, "source": file, "page": number, "pages": count}
    if count == 1:
        return record
    file = verdict.source.removesuffix(f"#{number}")
    return {**record, "source": file, "frame": number, "frames": count}


def _load(guard: ImageGuard, source: str) -> tuple[CanonicalImage, ...]:
    """All frames of an input; those of standard input are named "-" instead of "<bytes>".

    Raises:
        ImageRejected: the policy does not accept it, or nothing can be read.
    """
    if source != STDIN:
        return guard.load_frames(source)
    if sys.stdin is None:
        raise ImageRejected("Standard input is closed.", reason="unreadable", source=STDIN)
    # One byte over the cap, so that what is too long is rejected as such.
    data = sys.stdin.buffer.read(guard.config.intake.max_bytes + 1)
    return tuple(
        replace(frame, source=frame.source.replace(_BYTES, STDIN, 1))
        for frame in guard.load_frames(data)
    )


def _located(source: str, error: GuardAlignError) -> str:
    message = str(error)
    if source == STDIN:
        return message.replace(_BYTES, "Standard input")
    return message if source in message or is_data_url(source) else f"{source}: {message}"


def _earlier(file: ResumeFile | None, source: str) -> int | None:
    """The status of an input whose results stand in the file to resume; None if they do not."""
    # Standard input is another picture each time, and all data URLs have one label.
    named = source != STDIN and not is_data_url(source)
    return file.status(source) if file is not None and named else None


def _label(source: str) -> str:
    """The name of an input in a line of JSON; a data URL holds the whole picture."""
    return "<data URL>" if is_data_url(source) else source


def _stem(source: str) -> str:
    # A number precedes it, so a long name may be cut to what file systems accept.
    return "image" if is_data_url(source) else Path(source).stem[:_LONGEST_STEM]
