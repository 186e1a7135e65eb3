"""`guardalign scan`: one verdict for each image, frame or page, one line for each failed input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from guardalign_middleware.bulk.copies import assemble, parts_of
from guardalign_middleware.bulk.entries import (
    Inputs,
    find_inputs,
    from_stdin,
    is_shard,
    read_entries,
)
from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.folders import STDIN, described
from guardalign_middleware.bulk.job import Job, Outcome
from guardalign_middleware.bulk.pool import Scans, WorkerPool
from guardalign_middleware.bulk.report import write_report
from guardalign_middleware.bulk.scanner import Scanner
from guardalign_middleware.bulk.tables import write_table
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
    tracked,
)
from guardalign_middleware.config import GuardAlignConfig, Mode, WordsMode
from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.overlay import against, words_read
from guardalign_middleware.types import Verdict

if TYPE_CHECKING:
    from guardalign_middleware.bulk.results import ResumeFile


@dataclass(frozen=True)
class ScanOptions:
    """What the command line asks for.

    Attributes:
        as_json: print JSON lines.
        overlay: folder for pictures of the verdicts; None = none.
        copies: folder for cleaned copies; None = none.
        resume: file that results are appended to, and that says what was scanned; None = none.
        table: Parquet file for all results in `resume`; None = none.
        report: page of HTML about all results in `resume`; None = none.
        workers: how many processes scan; 1 = this one.
        column: of tables, with the pictures.
        words: what becomes of words; None = as the preset says.
        mode: whether the guard acts on what it finds; None = as the preset says.
        preset: of the guard.
    """

    as_json: bool = False
    overlay: Path | None = None
    copies: Path | None = None
    resume: Path | None = None
    table: Path | None = None
    report: Path | None = None
    workers: int = 1
    column: str = "image"
    words: WordsMode | None = None
    mode: Mode | None = None
    preset: str = "mini"


def run_scan(paths: Sequence[str], lists: Sequence[Path], options: ScanOptions) -> int:
    """Scan files, folders, tables and archives, and print the results as they come.

    Args:
        paths: of files and folders, and patterns.
        lists: files with a path in each line.
        options: of the command line.

    Returns:
        The exit status: 2 if an input could not be scanned, else 1 if one is unsafe, else 0. With
        `resume`, inputs that were scanned before count as well.

    Raises:
        ConfigError: the preset, an output or the file to resume cannot be used.
        ModelLoadError: the encoder cannot be loaded.
        AuditError: a verdict cannot be recorded.
    """
    config = GuardAlignConfig.load(options.preset).in_mode(options.mode)
    if options.words is not None:
        read = config.words.model_copy(update={"mode": options.words})
        config = config.model_copy(update={"words": read})
    job = Job(
        config,
        overlays=None if options.overlay is None else make_folder(options.overlay),
        copies=None if options.copies is None else make_folder(options.copies),
        describe=None if options.as_json else describe,
    )
    inputs = find_inputs(paths, lists, config.intake)
    for line in described(inputs.skipped):
        err().print(plain(line))
    for error in inputs.errors:
        print_error(error)
    statuses = {ALLOWED, *([CANNOT] if inputs.errors else [])}
    with ExitStack() as stack:
        file = None
        if options.resume is not None:
            # Imported on use: it needs POSIX locks.
            from guardalign_middleware.bulk.results import ResumeFile

            file = stack.enter_context(ResumeFile.open(options.resume))
            file.check_copies(wanted=job.copies is not None)
            file.check_mode(observing=config.mode == "observe")
        work = _Work(inputs, job, options.column, file)
        entries = work.entries()
        first = next(entries, None)
        if work.done:
            of = "" if inputs.count is None else f" of {inputs.count:,}"
            err().print(f"{work.done:,}{of} inputs stand in {plain(str(options.resume))} already")
        if first is not None:
            with err().status("loading the guard"):
                scans = _scans(job, options.workers, stack)
            if file is not None and scans.fingerprint is not None:
                file.check_profile(scans.fingerprint)
            total = None if inputs.count is None else inputs.count - work.done
            for outcome in tracked(scans.outcomes(chain([first], entries)), "scanning", total):
                if file is not None:
                    file.add(outcome.source, outcome.records)
                _show(outcome, as_json=options.as_json)
                statuses.add(outcome.status)
        statuses |= work.statuses
        if job.copies is not None:
            for path, place in work.shards():
                assemble(path, job.copies / place, options.column, config.intake)
        if file is not None and options.table is not None:
            write_table(file.path, options.table)
        if file is not None and options.report is not None:
            write_report(file.path, options.report, config.intake)
    return max(statuses)


def _scans(job: Job, workers: int, stack: ExitStack) -> Scans:
    return Scanner(job) if workers == 1 else stack.enter_context(WorkerPool(job, workers))


class _Work:
    """What is left to scan, read as it is asked for."""

    def __init__(self, inputs: Inputs, job: Job, column: str, file: ResumeFile | None) -> None:
        self._inputs, self._job, self._column, self._file = inputs, job, column, file
        self._scanned: set[str] = set()
        self.statuses: set[int] = set()
        self.done = sum(self._status(path) is not None for path, _ in inputs.files)

    def entries(self) -> Iterator[Entry]:
        """Every input that does not stand in the file to resume."""
        policy, number = self._job.config.intake, 0
        named: set[str] = set()
        for file in self._inputs.files:
            for entry in read_entries(file, self._column, policy, self._known):
                number += 1
                status = self._status(entry.source)
                if status is not None:
                    self.statuses.add(status)
                elif not self._named_before(entry.source, named):
                    if entry.in_shard:
                        self._scanned.add(file[0])
                    read = from_stdin(entry, policy) if entry.source == STDIN else entry
                    yield replace(read, number=number)

    def shards(self) -> Iterator[tuple[str, str]]:
        """The tables and archives of which a cleaned copy is to be made now, and its place."""
        assert self._job.copies is not None
        for path, place in self._inputs.files:
            if is_shard(path):
                target = self._job.copies / place
                if path in self._scanned or not target.exists() or parts_of(target).exists():
                    yield path, place

    def _known(self, source: str) -> bool:
        return self._status(source) is not None

    def _status(self, source: str) -> int | None:
        """The status of an input whose results stand in the file to resume; None if they do not."""
        # Standard input is another picture each time, and all data URLs have one label.
        named = source != STDIN and not is_data_url(source)
        return self._file.status(source) if self._file is not None and named else None

    def _named_before(self, source: str, named: set[str]) -> bool:
        """Whether an input was named twice, which would put it into the file twice."""
        if self._file is None or source == STDIN or is_data_url(source):
            return False
        again = source in named
        named.add(source)
        return again


def _show(outcome: Outcome, *, as_json: bool) -> None:
    if outcome.error is not None:
        print_error(outcome.error)
    elif as_json:
        for record in outcome.records:
            print_json(record)
    else:
        for line in outcome.lines:
            out().print(line)


def describe(verdict: Verdict) -> str:
    """One line of rich markup for a person."""
    style = STYLES[verdict.decision]
    if verdict.fault is not None:
        return f"[bold red]fault[/] {plain(verdict.source)}  not scanned: {plain(verdict.fault)}"
    observed = "" if verdict.would_be is None else f" ({verdict.would_be})"
    line = (
        f"[{style}]{verdict.decision + observed:5}[/] {plain(verdict.source)}  "
        f"{plain(verdict.category)} {verdict.distance:.3f} {against(verdict)}"
    )
    boxes = ", ".join(
        f"{plain(region.category)} at {region.box}"
        + (" (by its words)" if region.kind == "words" else "")
        + (" (only reported)" if region.action == "flag" else "")
        for region in verdict.regions
    )
    read = "" if verdict.words is None else words_read(verdict.words)
    return "  ".join(part for part in (line, boxes, read) if part)
