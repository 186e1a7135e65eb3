"""The commands and their options; the work is imported on use, so that `--help` needs no torch."""

from __future__ import annotations

import logging
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
concepts_app = typer.Typer(help="The concepts that are looked for.", no_args_is_help=True)
app.add_typer(concepts_app, name="concepts")

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


@app.command("explain-attention")
def explain_attention(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="An image file; not scanned.")],
    question: Annotated[str, typer.Argument(metavar="QUESTION")],
    target: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE.png", help="The picture to write.")
    ] = Path("attention.png"),
    gamma: Annotated[
        float | None,
        typer.Option(help="Strength of the calibration; the preset's, or 0.5 where that is 0."),
    ] = None,
    as_json: AsJson = False,
    preset: Preset = "mini",
) -> None:
    """Draw how much attention a question pays the safety prefix, layer by layer.

    With and without calibration. Needs matplotlib (the extra "report"). Exit status: 0 written, 2
    nothing was.
    """
    from guardalign_middleware.cli.explain import run_explain

    _run(
        lambda: run_explain(
            image, question, target=target, gamma=gamma, as_json=as_json, preset=preset
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
    per_category: Annotated[
        bool,
        typer.Option(
            "--per-category",
            help="A threshold for each category; the folders in --unsafe are named like them.",
        ),
    ] = False,
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
            per_category=per_category,
            out=out,
            preset=preset,
        )
    )


@app.command()
def attack(
    unsafe: Annotated[
        list[str] | None,
        typer.Option("--unsafe", metavar="PATH", help="Unsafe images; without, drawn scenes."),
    ] = None,
    safe: Annotated[
        list[str] | None,
        typer.Option("--safe", metavar="PATH", help="Safe images, for the false alarms."),
    ] = None,
    n: Annotated[int, typer.Option("--n", help="Most images of each kind.")] = 20,
    eps: Annotated[
        list[int] | None,
        typer.Option("--eps", help="Of the gradient attack, in 1/255. 2, 4 and 8 if not given."),
    ] = None,
    steps: Annotated[int, typer.Option(help="Of the gradient attack.")] = 10,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    results: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all figures.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="PNG", help="Draw them (needs matplotlib).")
    ] = None,
    compare: Annotated[
        bool, typer.Option(help="Measure counter-measures that the preset does not take, too.")
    ] = True,
    preset: Preset = "mini",
) -> None:
    """Attack the detector with changed images, and measure cheap counter-measures.

    Takes some seconds an image on a fast machine. Exit status: 0 measured, 2 it could not be done.
    """
    from guardalign_middleware.cli.attack import run_attack

    _run(
        lambda: run_attack(
            unsafe or [],
            safe or [],
            n=n,
            levels=eps or [2, 4, 8],
            steps=steps,
            seed=seed,
            results=results,
            plot=plot,
            preset=preset,
            compare=compare,
        )
    )


@concepts_app.command("check")
def concepts_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An anchor file (.yaml).")],
    overlap: Annotated[
        float, typer.Option(help="Two words this similar (cosine) count as the same thing.")
    ] = 0.95,
    matrix: Annotated[
        Path | None, typer.Option("--matrix", metavar="CSV", help="Write all similarities.")
    ] = None,
    as_json: AsJson = False,
    preset: Preset = "mini",
) -> None:
    """Look at an anchor file through the preset's encoder: similarities, and words that clash.

    Exit status: 0 nothing to say, 1 there are warnings, 2 the file cannot be used.
    """
    from guardalign_middleware.cli.concepts import run_check

    _run(lambda: run_check(file, overlap=overlap, matrix=matrix, as_json=as_json, preset=preset))


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


@audit_app.command("replay")
def audit_replay(
    log: Annotated[Path, typer.Argument(metavar="FILE", help="An audit log.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Image files.")],
    key_file: Annotated[
        Path, typer.Option("--key-file", "-k", metavar="K", help="The key it was written with.")
    ],
    as_json: AsJson = False,
    preset: Preset = "mini",
) -> None:
    """Guard images again, and compare with what the log says about them; nothing is recorded.

    Exit status: 0 all the same, 1 something differs, 2 an image is unreadable or not in the log.
    """
    from guardalign_middleware.cli.audit import run_replay

    _run(lambda: run_replay(log, images, key_file=key_file, preset=preset, as_json=as_json))


def main() -> None:
    """Entry point of the console script."""
    # What torch tells the authors of torchao, where that is installed, is nothing for our users.
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    app()


def _run(command: Callable[[], int]) -> None:
    """Exit with the command's status; a typed error is one line and no traceback."""
    try:
        status = command()
    except GuardAlignError as error:
        print_error(str(error))
        status = CANNOT
    raise typer.Exit(status)
