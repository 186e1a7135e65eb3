"""`guardalign scan`: one verdict for each image, frame or page, one line for each failed input."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from guardalign_middleware.bulk.copies import assemble
from guardalign_middleware.bulk.entries import find_inputs
from guardalign_middleware.bulk.folders import Skipped
from guardalign_middleware.bulk.job import Job, Outcome
from guardalign_middleware.bulk.names import copy_too_long, label
from guardalign_middleware.bulk.old_copies import old_copies
from guardalign_middleware.bulk.places import Copies, distinct
from guardalign_middleware.bulk.pool import WorkerPool
from guardalign_middleware.bulk.report import write_report
from guardalign_middleware.bulk.scanner import Scanner
from guardalign_middleware.bulk.tables import is_table, write_table
from guardalign_middleware.bulk.work import Work
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
from guardalign_middleware.identity import scan_identity
from guardalign_middleware.local_extra import require_extra
from guardalign_middleware.overlay import against, words_read
from guardalign_middleware.types import Verdict
from guardalign_middleware.writing import NameTooLong, check_outputs, check_target


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
        workers: how many processes scan, None or 1 = this one; or with `ray` how many guards there
            are, None = more and more while inputs wait, as Ray finds room for them.
        ray: address of a cluster of Ray that scans; None = this machine does.
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
    workers: int | None = None
    ray: str | None = None
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
    config = _config(options)
    if options.table is not None:
        require_extra("tables", "Reading and writing tables needs", ("pyarrow",))
    for target in (options.table, options.report):
        if target is not None:
            check_target(target)
    job = Job(
        config,
        overlays=None if options.overlay is None else make_folder(options.overlay),
        copies=None if options.copies is None else make_folder(options.copies),
        describe=None if options.as_json else describe,
    )
    made_by = scan_identity(config)
    inputs = find_inputs(paths, lists, config.intake)
    check_outputs(
        {"--resume": options.resume, "--table": options.table, "--report": options.report},
        {
            "--preset": [options.preset],
            "--list": lists,
            "an input": (path for path, _ in inputs.files),
        },
    )
    _print_skipped(Skipped(inputs.skipped))
    statuses = {ALLOWED} | _print_faults(inputs.errors)
    with ExitStack() as stack:
        file = None
        if options.resume is not None:
            # Imported on use: it needs POSIX locks.
            from guardalign_middleware.bulk.results import ResumeFile

            file = stack.enter_context(ResumeFile.open(options.resume))
            file.check_copies(wanted=job.copies is not None)
            file.check_guard(made_by)
            if job.copies is not None:
                file.check_folder(job.copies, {path for path, _ in inputs.files})
            if any(is_table(path) for path, _ in inputs.files):
                file.check_column(options.column)
        copies = Copies() if file is None else file.copies
        if job.copies is not None:
            inputs, stems = distinct(inputs, copies.files)
            job = replace(job, stems=stems)
        work = Work(inputs, job, options.column, file)
        with closing(_outcomes(work, options)) as outcomes:
            for outcome in outcomes:
                if file is None:
                    copies.note(outcome.records)
                else:
                    told = [{**record, "guard": made_by} for record in outcome.records]
                    file.add(told)
                _show(outcome, as_json=options.as_json)
                statuses |= {outcome.status} | _print_faults(_stale_copies(job, outcome))
        _print_skipped(work.skipped)
        emptied = Skipped()
        statuses |= work.statuses | _print_faults(_assembly_faults(work, copies, emptied))
        _print_skipped(emptied)
        if file is not None and options.table is not None:
            write_table(file.path, options.table)
        if file is not None and options.report is not None:
            write_report(file.path, options.report, config.intake, config.output)
    return max(statuses)


def _config(options: ScanOptions) -> GuardAlignConfig:
    config = GuardAlignConfig.load(options.preset).in_mode(options.mode)
    if options.words is None:
        return config
    words = config.words.model_copy(update={"mode": options.words})
    return config.model_copy(update={"words": words})


def _outcomes(work: Work, options: ScanOptions) -> Generator[Outcome]:
    """What came of each input that was not done before, with its progress."""
    count = work.inputs.count
    if work.done:
        of = "" if count is None else f" of {count:,}"
        err().print(f"{work.done:,}{of} inputs stand in {plain(str(options.resume))} already")
    scan = _scan_here if options.ray is None else _scan_on_ray
    with closing(scan(work, options)) as outcomes:
        yield from tracked(outcomes, "scanning", None if count is None else count - work.done)


def _scan_here(work: Work, options: ScanOptions) -> Generator[Outcome]:
    """What came of each input, by this process or by several of this machine."""
    entries = work.entries()
    first = next(entries, None)
    if first is None:
        return
    with ExitStack() as stack:
        with err().status("loading the guard"):
            scans = (
                Scanner(work.job)
                if options.workers in {None, 1}
                else stack.enter_context(WorkerPool(work.job, options.workers or 1))
            )
        yield from scans.outcomes(chain([first], entries))


def _scan_on_ray(work: Work, options: ScanOptions) -> Generator[Outcome]:
    """What came of each input, by the machines of a cluster."""
    from guardalign_middleware.scale.cluster import joined
    from guardalign_middleware.scale.engine import Actors
    from guardalign_middleware.scale.scans import RayScans

    assert options.ray is not None
    readings = list(work.readings())
    if not readings:
        return
    with ExitStack() as stack:
        with err().status("joining the cluster"):
            ray = stack.enter_context(joined(options.ray))
        # Ray holds back cores from a pool that may grow: on two, a second guard never started.
        actors = Actors() if options.workers is None else Actors(options.workers, options.workers)
        scans = RayScans(ray, work.job, actors)
        yield from scans.outcomes(work, readings)


def _stale_copies(job: Job, outcome: Outcome) -> Iterator[str]:
    """A line for each file of an earlier scan where this one lets nothing through."""
    if job.copies is None:
        return
    for path in old_copies(job.copies, outcome, job.stems):
        yield (
            f"{path} stands where the cleaned copy of {label(outcome.source)} would be, and this "
            "scan lets nothing of it through. Remove it if an earlier scan wrote it, or name "
            "another folder."
        )


def _assembly_faults(work: Work, copies: Copies, skipped: Skipped) -> Iterator[str]:
    """Put the copies of tables and archives together; a line for each that is damaged.

    Args:
        work: that was done.
        copies: what it made.
        skipped: gets what is left out of tables without a scan.
    """
    folder, policy = work.job.copies, work.job.config.intake
    if folder is None:
        return
    for path, place in work.shards():
        parts = copies.parts(place)
        fault: str | None
        try:
            fault = assemble(path, folder / place, work.column, policy, parts, skipped.add)
        except NameTooLong as error:
            fault = str(copy_too_long(error))
        if fault is not None:
            yield fault


def _print_faults(faults: Iterable[str]) -> set[int]:
    """Print what could not be done as it is found; the exit statuses it causes."""
    statuses = set()
    for fault in faults:
        print_error(fault)
        statuses.add(CANNOT)
    return statuses


def _print_skipped(skipped: Skipped) -> None:
    for line in skipped.lines():
        err().print(plain(line))


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
    # Of an allowed picture the nearest category is no finding.
    allowed = "allow" in {verdict.decision, verdict.would_be}
    line = (
        f"[{style}]{verdict.decision + observed:5}[/] {plain(verdict.source)}  "
        f"{'distance' if allowed else plain(verdict.category)} "
        f"{verdict.distance:.3f} {against(verdict)}"
    )
    boxes = ", ".join(
        f"{plain(region.category)} at {region.box}"
        + (" (by its words)" if region.kind == "words" else "")
        + (" (only reported)" if region.action == "flag" else "")
        for region in verdict.regions
    )
    read = "" if verdict.words is None else words_read(verdict.words)
    return "  ".join(part for part in (line, boxes, read) if part)
