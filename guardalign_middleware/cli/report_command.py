"""The command `guardalign report` and its options; the rest is imported on use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from guardalign_middleware.cli.running import run


def report(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Folder of guardalign eval, or of Inspect's logs; or one log."
        ),
    ],
    target: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FILE.html", help="The page; FILE.md is written beside it."
        ),
    ] = Path("report.html"),
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="The suite's files, or hub:OWNER/NAME@REVISION; default: where they were.",
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(help="Folder below judgements/; default: the judge that judged most."),
    ] = None,
) -> None:
    """Write a page about a stored evaluation, beside the paper's figures.

    The page needs no other file and no network. It shows masked pictures only, and no answers.

    Exit status: 0 written, 3 the program failed.
    """
    from guardalign_middleware.cli.report import run_report

    run(lambda: run_report(folder, target, data=data, judge=judge))
