"""The command `guardalign scan` and its options; the guard is imported on use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from guardalign_middleware.cli.options import AsJson, Mode, Preset
from guardalign_middleware.cli.running import run


def scan(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...",
            help="Image or PDF files, folders of them, tables (.parquet) and archives (.tar) of "
            "images, and patterns for all of these; - is an image on standard input.",
        ),
    ] = None,
    lists: Annotated[
        list[Path] | None,
        typer.Option("--list", metavar="FILE", help="Scan also what FILE names, a path a line."),
    ] = None,
    as_json: AsJson = False,
    overlay: Annotated[
        Path | None,
        typer.Option("--overlay", metavar="DIR", help="Write images with the regions drawn in."),
    ] = None,
    copies: Annotated[
        Path | None,
        typer.Option(
            "--sanitize",
            metavar="DIR",
            help="Write cleaned copies, in the same layout; what is blocked or cannot be scanned "
            "is left out.",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Append the results to FILE as JSON lines, errors included, and scan nothing "
            "that stands there already.",
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(metavar="FILE.parquet", help="Write all results in the file of --resume."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html", help="Write a page about all results in the file of --resume."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes that scan, each with models of its own; with --ray, guards. "
            "Default: 1; with --ray, more and more while inputs wait.",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help='Scan on a cluster of Ray (extra "ray"): its address, "auto" for the one that '
            'runs here, or "local" to start one on this machine.',
        ),
    ] = None,
    column: Annotated[
        str, typer.Option(help="Column of a table that has the image files.")
    ] = "image",
    words: Annotated[
        Literal["off", "report", "mask", "guard"] | None,
        typer.Option("--words", help="What becomes of words; default: as in the preset."),
    ] = None,
    mode: Mode = None,
    preset: Preset = "mini",
) -> None:
    """Scan images for unsafe regions, without changing them.

    In folders, pictures are recognised by their content; what else is there is named as skipped.
    The pages of PDF files are scanned if the preset says `intake.pdf: pages`.

    Exit status: 0 all allowed or only observed, 1 something masked or blocked, 2 an input could
    not be scanned, 3 the program failed.
    """
    from guardalign_middleware.cli.scan import ScanOptions, run_scan

    if not paths and not lists:
        raise typer.BadParameter("Name what to scan: PATH..., or --list FILE.")
    if table is not None and resume is None:
        raise typer.BadParameter("--table needs --resume, whose results it holds.")
    if report is not None and resume is None:
        raise typer.BadParameter("--report needs --resume, whose results it shows.")
    options = ScanOptions(
        as_json=as_json,
        overlay=overlay,
        copies=copies,
        resume=resume,
        table=table,
        report=report,
        workers=workers,
        ray=ray,
        column=column,
        words=words,
        mode=mode,
        preset=preset,
    )
    run(lambda: run_scan(paths or [], lists or [], options))
