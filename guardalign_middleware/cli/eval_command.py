"""The command `guardalign eval` and its options; models are imported on use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from guardalign_middleware.cli.options import AsJson, Preset
from guardalign_middleware.cli.running import run


def evaluate(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="Name of a suite, such as mini.")],
    arms: Annotated[
        str,
        typer.Option(
            help="Arms with commas between them, or all: vanilla, neutral, prefix, calibration, "
            "detection, detection-prefix, full, eta, ecso; calibration@2 is another strength."
        ),
    ] = "full,vanilla",
    target: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the run.")
    ] = Path("runs/eval"),
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="The suite's files as published, or hub:OWNER/NAME@REVISION; mini needs none.",
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Default: the suite's first.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="First items only, which is no published protocol; of mini, of each kind."
        ),
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="Judge of the stored answers; default: the suite's.")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Length of an answer; default: as in the preset.")
    ] = None,
    eta_threshold: Annotated[
        float | None,
        typer.Option(help="Cosine of an unsafe picture for the arm eta; default: ETA's own."),
    ] = None,
    as_json: AsJson = False,
    preset: Preset = "mini",
) -> None:
    """Answer a suite by several arms, judge the answers, and print each arm's figures.

    Everything is stored in the folder. The same command goes on with an interrupted run and asks
    only what is missing; with another --judge, it judges the stored answers again.

    Exit status: 0 all answered, 2 some items could not be answered, 3 the program failed.
    """
    from guardalign_middleware.cli.eval import EvalOptions, run_eval

    options = EvalOptions(
        suite=suite,
        arms=arms,
        target=target,
        data=data,
        split=split,
        limit=limit,
        judge=judge,
        max_new_tokens=max_new_tokens,
        eta_threshold=eta_threshold,
        as_json=as_json,
        preset=preset,
    )
    run(lambda: run_eval(options))
