"""The command `guardalign init` and its options; the models are imported on use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from guardalign_middleware.cli.options import HeldOut, MaxFalseAlarm, MaxMiss
from guardalign_middleware.cli.running import run


def init(
    preset: Annotated[
        str | None,
        typer.Option("--preset", "-p", help="Shipped preset, or a .yaml file, to begin with."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Model that answers: OWNER/NAME on the hub, or its directory."
        ),
    ] = None,
    safe: Annotated[
        list[str] | None,
        typer.Option(
            "--safe", metavar="SET", help="Safe images: file, folder, coco:DIR, hub:OWNER/NAME …"
        ),
    ] = None,
    unsafe: Annotated[
        list[str] | None, typer.Option("--unsafe", metavar="SET", help="Unsafe images, as --safe.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE.yaml", help="Preset to write.")
    ] = Path("guard.yaml"),
    steps: Annotated[
        list[str] | None,
        typer.Option(
            "--step",
            metavar="STEP",
            help="Do this step only: download, preset, calibrate, review or ask; may be repeated.",
        ),
    ] = None,
    max_false_alarm: MaxFalseAlarm = None,
    max_miss: MaxMiss = None,
    held_out: HeldOut = 0.3,
    most: Annotated[
        int | None, typer.Option(min=1, help="Images of each set at most, drawn by --seed.")
    ] = None,
    max_crops: Annotated[
        int | None, typer.Option(min=1, help="Crops of an image. Default: enough for most images.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    observe: Annotated[
        bool,
        typer.Option(
            "--observe",
            help="Fit no threshold: write a preset that records every image and lets it pass.",
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing; download without a question.")
    ] = False,
) -> None:
    """Set up a guard on real models: download, preset, thresholds, a contact sheet, ten questions.

    On a terminal, what is not given is asked for. Steps that were done before go on from what they
    left.

    Exit status: 0 done, 2 an image cannot be read, 3 a step failed.
    """
    from guardalign_middleware.cli.init import run_init

    if observe and (max_false_alarm is not None or max_miss is not None):
        raise typer.BadParameter("--observe fits no threshold, and promises no rates.")
    if max_false_alarm is None and max_miss is None:
        max_false_alarm = 0.05
    run(
        lambda: run_init(
            preset=preset,
            model=model,
            safe=safe or [],
            unsafe=unsafe or [],
            out_file=out,
            steps=steps or [],
            max_false_alarm=max_false_alarm,
            max_miss=max_miss,
            held_out=held_out,
            most=most,
            max_crops=max_crops,
            seed=seed,
            observe=observe,
            yes=yes,
        )
    )
