"""The commands and their options; the work is imported on use, so that `--help` needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from guardalign_middleware.cli.console import CANNOT, print_error
from guardalign_middleware.errors import GuardAlignError

app = typer.Typer(
    name="guardalign",
    help="Check images region by region, clean them, and answer under a calibrated safety prefix.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

audit_app = typer.Typer(help="The log of verdicts.", no_args_is_help=True)
app.add_typer(audit_app, name="audit")

Preset = Annotated[
    str, typer.Option("--preset", "-p", help="A shipped preset, or the path of a .yaml file.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures.")] = Path(
        "guardalign-demo"
    ),
) -> None:
    """Answer the shipped scenes unguarded, with the prefix alone, and guarded.

    Uses the miniature models: no network, no downloads, under a minute.
    """
    from guardalign_middleware.cli.demo import run_demo

    _run(lambda: run_demo(out))


@app.command()
def scan(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Image files, and folders of them.")
    ],
    as_json: AsJson = False,
    overlay: Annotated[
        Path | None,
        typer.Option("--overlay", metavar="DIR", help="Write what was found, drawn on each image."),
    ] = None,
    preset: Preset = "mini",
) -> None:
    """Look for unsafe regions in images; nothing is changed.

    Exit status: 0 all allowed, 1 something masked or blocked, 2 an input could not be scanned.
    """
    from guardalign_middleware.cli.scan import run_scan

    _run(lambda: run_scan(paths, as_json=as_json, overlay=overlay, preset=preset))


@app.command()
def ask(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="An image file.")],
    question: Annotated[str, typer.Argument(metavar="QUESTION")],
    as_json: AsJson = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Print the answer while it is made.")
    ] = False,
    no_guard: Annotated[
        bool, typer.Option("--no-guard", help="Ask the plain model: no scan, no prefix.")
    ] = False,
    preset: Preset = "mini",
) -> None:
    """Ask a question about an image.

    Exit status: 0 answered, also when the image was masked or blocked; 2 it could not be done.
    """
    from guardalign_middleware.cli.ask import run_ask

    if as_json and stream:
        raise typer.BadParameter("--json prints one object at the end; leave out --stream.")
    _run(
        lambda: run_ask(
            image, question, as_json=as_json, stream=stream, guarded=not no_guard, preset=preset
        )
    )


@app.command()
def calibrate(
    safe: Annotated[
        list[str], typer.Option("--safe", metavar="PATH", help="Safe images: a file or a folder.")
    ],
    unsafe: Annotated[
        list[str] | None,
        typer.Option("--unsafe", metavar="PATH", help="Unsafe images; needed for --max-miss."),
    ] = None,
    max_false_alarm: Annotated[
        float | None,
        typer.Option(help="Flag at most this share of safe images. 0.05 if nothing is promised."),
    ] = None,
    max_miss: Annotated[
        float | None, typer.Option(help="Miss at most this share of unsafe images.")
    ] = None,
    held_out: Annotated[
        float, typer.Option(help="Share of the images kept back to report the error rates on.")
    ] = 0.3,
    seed: Annotated[int, typer.Option(help="Of the split.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="The profile to write.")] = Path(
        "profile.json"
    ),
    preset: Preset = "mini",
) -> None:
    """Choose the threshold that keeps promised error rates, and write its profile.

    The promise holds for images like those given here (exchangeable with them), on average; it is
    none against somebody who attacks the detector. Exit status: 0 written, 2 nothing was.
    """
    from guardalign_middleware.cli.calibrate import run_calibrate

    if max_false_alarm is None and max_miss is None:
        max_false_alarm = 0.05
    _run(
        lambda: run_calibrate(
            safe,
            unsafe or [],
            max_false_alarm=max_false_alarm,
            max_miss=max_miss,
            held_out=held_out,
            seed=seed,
            out=out,
            preset=preset,
        )
    )


@audit_app.command("verify")
def audit_verify(
    log: Annotated[Path, typer.Argument(metavar="FILE", help="An audit log.")],
    key_file: Annotated[
        Path, typer.Option("--key-file", "-k", metavar="K", help="The key it was written with.")
    ],
    anchor: Annotated[
        str | None,
        typer.Option(
            metavar="N:MAC", help="The head that an earlier check printed, kept elsewhere."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look for edits, deletions, reordering and a cut end.

    Exit status: 0 intact, 1 not as it was written, 2 it could not be checked.
    """
    from guardalign_middleware.cli.audit import run_verify

    _run(lambda: run_verify(log, key_file=key_file, anchor=anchor, as_json=as_json))


def main() -> None:
    """Entry point of the console script."""
    app()


def _run(command: Callable[[], int]) -> None:
    """Exit with the command's status; a typed error is one line and no traceback."""
    try:
        status = command()
    except GuardAlignError as error:
        print_error(str(error))
        status = CANNOT
    raise typer.Exit(status)
