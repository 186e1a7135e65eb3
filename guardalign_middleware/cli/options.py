"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Preset = Annotated[
    str, typer.Option("--preset", "-p", help="Shipped preset, or path of a .yaml file.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
Mode = Annotated[
    Literal["enforce", "observe"] | None,
    typer.Option(
        help="observe: let every picture pass, and say what would have been done; default: as in "
        "the preset."
    ),
]
MaxFalseAlarm = Annotated[
    float | None,
    typer.Option(help="Flag at most this share of safe images. Default: 0.05 without --max-miss."),
]
MaxMiss = Annotated[float | None, typer.Option(help="Miss at most this share of unsafe images.")]
HeldOut = Annotated[
    float, typer.Option(help="Share of images held out to measure the error rates.")
]
