"""The commands and their options; implementations are imported on use, so `--help` is fast."""

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

audit_app = typer.Typer(help="Verify, repair and replay the audit log.", no_args_is_help=True)
app.add_typer(audit_app, name="audit")
concepts_app = typer.Typer(help="Check the concepts to look for.", no_args_is_help=True)
app.add_typer(concepts_app, name="concepts")

Preset = Annotated[
    str, typer.Option("--preset", "-p", help="Shipped preset, or path of a .yaml file.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
AuditFile = Annotated[Path, typer.Argument(metavar="FILE", help="Audit log.")]
KeyFile = Annotated[
    Path | None, typer.Option("--key-file", "-k", metavar="FILE", help="Key of the audit log.")
]
KeyVariable = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Environment variable with the key of the audit log."),
]
Start = Annotated[
    str | None,
    typer.Option(metavar="N:MAC", help="Head at the end of files that were moved away."),
]


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Output folder for the pictures.")
    ] = Path("guardalign-demo"),
) -> None:
    """Answer sample scenes unguarded, with the safety prefix alone, and guarded.

    Uses the miniature models: no network, no downloads, less than a minute.
    """
    from guardalign_middleware.cli.demo import run_demo

    _run(lambda: run_demo(out))


@app.command()
def scan(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Image or PDF files, or folders of them.")
    ],
    as_json: AsJson = False,
    overlay: Annotated[
        Path | None,
        typer.Option("--overlay", metavar="DIR", help="Write images with the regions drawn in."),
    ] = None,
    preset: Preset = "mini",
) -> None:
    """Scan images for unsafe regions, without changing them.

    The pages of PDF files are scanned if the preset says `intake.pdf: pages`.

    Exit status: 0 all allowed, 1 something masked or blocked, 2 an input could not be scanned.
    """
    from guardalign_middleware.cli.scan import run_scan

    _run(lambda: run_scan(paths, as_json=as_json, overlay=overlay, preset=preset))


@app.command()
def ask(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Image file.")],
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="Question about the image.")],
    as_json: AsJson = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Print the answer as it is generated.")
    ] = False,
    no_guard: Annotated[
        bool, typer.Option("--no-guard", help="Ask the plain model, without scan and prefix.")
    ] = False,
    preset: Preset = "mini",
) -> None:
    """Ask a question about an image.

    Exit status: 0 answered, even if the image was masked or blocked; 2 failed.
    """
    from guardalign_middleware.cli.ask import run_ask

    if as_json and stream:
        raise typer.BadParameter("--json cannot be combined with --stream.")
    _run(
        lambda: run_ask(
            image, question, as_json=as_json, stream=stream, guarded=not no_guard, preset=preset
        )
    )


@app.command("explain-attention")
def explain_attention(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Image file; not scanned.")],
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="Question about the image.")],
    target: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE.png", help="Output file.")
    ] = Path("attention.png"),
    gamma: Annotated[
        float | None,
        typer.Option(
            help="Strength of the calibration. Default: the preset's, or 0.5 if that is 0."
        ),
    ] = None,
    as_json: AsJson = False,
    preset: Preset = "mini",
) -> None:
    """Plot a question's attention to the safety prefix per layer, with and without calibration.

    Needs matplotlib (extra "report").

    Exit status: 0 written, 2 failed.
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
        list[str], typer.Option("--safe", metavar="PATH", help="Safe images: file or folder.")
    ],
    unsafe: Annotated[
        list[str] | None,
        typer.Option(
            "--unsafe", metavar="PATH", help="Unsafe images: file or folder. Needed for --max-miss."
        ),
    ] = None,
    max_false_alarm: Annotated[
        float | None,
        typer.Option(
            help="Flag at most this share of safe images. Default: 0.05 without --max-miss."
        ),
    ] = None,
    max_miss: Annotated[
        float | None, typer.Option(help="Miss at most this share of unsafe images.")
    ] = None,
    held_out: Annotated[
        float, typer.Option(help="Share of images held out to measure the error rates.")
    ] = 0.3,
    seed: Annotated[int, typer.Option(help="Random seed of the split.")] = 0,
    per_category: Annotated[
        bool,
        typer.Option(
            "--per-category",
            help="Fit one threshold per category; name the folders in --unsafe after them.",
        ),
    ] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Output profile.")] = Path(
        "profile.json"
    ),
    as_json: AsJson = False,
    preset: Preset = "mini",
) -> None:
    """Fit the thresholds that keep the promised error rates, and write their profile.

    Each form in which the preset looks at a picture gets its own threshold.
    The promise holds on average for images like the given ones (exchangeable with them). It does
    not hold against attacks on the detector.

    Exit status: 0 written, 2 failed.
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
            target=out,
            as_json=as_json,
            preset=preset,
        )
    )


@app.command()
def attack(
    unsafe: Annotated[
        list[str] | None,
        typer.Option(
            "--unsafe", metavar="PATH", help="Unsafe images: file or folder. Default: drawn scenes."
        ),
    ] = None,
    safe: Annotated[
        list[str] | None,
        typer.Option(
            "--safe", metavar="PATH", help="Safe images, to measure false alarms: file or folder."
        ),
    ] = None,
    n: Annotated[int, typer.Option("--n", help="Maximum number of images of each kind.")] = 20,
    eps: Annotated[
        list[int] | None,
        typer.Option("--eps", help="Size of the gradient attack, in 1/255. Default: 2, 4 and 8."),
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps of the gradient attack.")] = 10,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    results: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all results as JSON.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="PNG", help="Plot the results (needs matplotlib)."),
    ] = None,
    compare: Annotated[
        bool, typer.Option(help="Also measure counter-measures that the preset does not use.")
    ] = True,
    preset: Preset = "mini",
) -> None:
    """Attack the detector with modified images, and measure cheap counter-measures.

    Takes a few seconds per image on a fast machine.

    Exit status: 0 measured, 2 failed.
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
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Anchor file (.yaml).")],
    overlap: Annotated[
        float, typer.Option(help="Cosine similarity at which two words count as the same.")
    ] = 0.95,
    matrix: Annotated[
        Path | None, typer.Option("--matrix", metavar="CSV", help="Write all similarities as CSV.")
    ] = None,
    as_json: AsJson = False,
    preset: Preset = "mini",
) -> None:
    """Check an anchor file with the preset's encoder for words that are too similar.

    Exit status: 0 no warnings, 1 warnings, 2 the file cannot be used.
    """
    from guardalign_middleware.cli.concepts import run_check

    _run(lambda: run_check(file, overlap=overlap, matrix=matrix, as_json=as_json, preset=preset))


@audit_app.command("verify")
def audit_verify(
    log: AuditFile,
    key_file: KeyFile = None,
    key_variable: KeyVariable = None,
    anchor: Annotated[
        str | None,
        typer.Option(metavar="N:MAC", help="Head printed by an earlier check and kept elsewhere."),
    ] = None,
    start: Start = None,
    as_json: AsJson = False,
) -> None:
    """Check a log and its closed files for edits, deletions, reordering and truncation.

    Exit status: 0 intact, 1 not intact, 2 could not be checked.
    """
    from guardalign_middleware.cli.audit import read_key, run_verify

    _run(
        lambda: run_verify(
            log, read_key(key_file, key_variable), anchor=anchor, start=start, as_json=as_json
        )
    )


@audit_app.command("repair")
def audit_repair(
    log: AuditFile,
    key_file: KeyFile = None,
    key_variable: KeyVariable = None,
    as_json: AsJson = False,
) -> None:
    """Cut off what follows the last recorded line, say what it was, and keep it beside the log.

    A guard does this itself for a line that a crash left unfinished. No recorded line is cut off.

    Exit status: 0 the log can be written again, 2 it cannot be repaired.
    """
    from guardalign_middleware.cli.audit import read_key, run_repair

    _run(lambda: run_repair(log, read_key(key_file, key_variable), as_json=as_json))


@audit_app.command("replay")
def audit_replay(
    log: AuditFile,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Image files.")],
    key_file: KeyFile = None,
    key_variable: KeyVariable = None,
    start: Start = None,
    as_json: AsJson = False,
    preset: Preset = "mini",
) -> None:
    """Guard images again and compare the results with their log entries; nothing is recorded.

    Exit status: 0 no differences, 1 differences, 2 an image is unreadable or not in the log.
    """
    from guardalign_middleware.cli.audit import read_key, run_replay

    _run(
        lambda: run_replay(
            log,
            images,
            read_key(key_file, key_variable),
            start=start,
            preset=preset,
            as_json=as_json,
        )
    )


def main() -> None:
    """Entry point of the console script."""
    # With torchao installed, torch logs warnings here that are meant for torchao's authors.
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
