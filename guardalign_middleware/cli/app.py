"""The commands and their options; implementations are imported on use, so `--help` is fast."""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from guardalign_middleware.cli.audit_app import audit_app
from guardalign_middleware.cli.bench_command import bench
from guardalign_middleware.cli.calibrate_command import calibrate
from guardalign_middleware.cli.console import FAILED, print_error
from guardalign_middleware.cli.doctor_command import doctor
from guardalign_middleware.cli.eval_command import evaluate
from guardalign_middleware.cli.init_command import init
from guardalign_middleware.cli.mcp_command import mcp
from guardalign_middleware.cli.options import AsJson, Mode, Preset
from guardalign_middleware.cli.playground import playground as playground_command
from guardalign_middleware.cli.report_command import report
from guardalign_middleware.cli.running import CommandGroup, run
from guardalign_middleware.cli.scan_command import scan
from guardalign_middleware.cli.serve_command import serve

_STEPS = 10  # of the gradient attack
app = typer.Typer(
    name="guardalign",
    cls=CommandGroup,
    help="Check images region by region, clean them, and answer under a calibrated safety prefix.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(audit_app, name="audit")
concepts_app = typer.Typer(help="Check the concepts to look for.", no_args_is_help=True)
app.add_typer(concepts_app, name="concepts")


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

    run(lambda: run_demo(out))


app.command()(doctor)


app.command()(init)


app.command()(scan)


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
    mode: Mode = None,
    preset: Preset = "mini",
) -> None:
    """Ask a question about an image.

    Exit status: 0 answered, even if the image was masked or blocked; 2 the image is not accepted;
    3 the program failed.
    """
    from guardalign_middleware.cli.ask import run_ask

    if as_json and stream:
        raise typer.BadParameter("--json cannot be combined with --stream.")
    run(
        lambda: run_ask(
            image,
            question,
            as_json=as_json,
            stream=stream,
            guarded=not no_guard,
            preset=preset,
            mode=mode,
        )
    )


app.command()(serve)


app.command("playground")(playground_command)


app.command("eval")(evaluate)
app.command()(report)


# What follows the server's command are its own options.
app.command(context_settings={"allow_interspersed_args": False})(mcp)


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

    Exit status: 0 written, 2 an image cannot be read, 3 the program failed.
    """
    from guardalign_middleware.cli.explain import run_explain

    run(
        lambda: run_explain(
            image, question, target=target, gamma=gamma, as_json=as_json, preset=preset
        )
    )


app.command()(calibrate)


app.command()(bench)


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
    steps: Annotated[int, typer.Option(help="Steps of the gradient attack.")] = _STEPS,
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
    words: Annotated[
        bool, typer.Option("--words", help="Attack the reader of words instead of the detector.")
    ] = False,
    preset: Preset = "mini",
) -> None:
    """Attack the detector with modified images, and measure cheap counter-measures.

    Takes a few seconds per image on a fast machine. With --words, pictures of words are turned,
    faded, bent, split and more, to measure what is still read and flagged.

    Exit status: 0 measured, 2 an image cannot be read, 3 the program failed.
    """
    from guardalign_middleware.cli.attack import run_attack
    from guardalign_middleware.cli.attack_words import run_word_attack

    if words:
        if safe or eps or plot is not None or steps != _STEPS or not compare:
            raise typer.BadParameter("--words takes only --unsafe, --n, --seed, --json, --preset.")
        run(lambda: run_word_attack(unsafe or [], n=n, seed=seed, results=results, preset=preset))
    run(
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

    Exit status: 0 no warnings, 1 warnings, 3 the file cannot be used, or the program failed.
    """
    from guardalign_middleware.cli.concepts import run_check

    run(lambda: run_check(file, overlap=overlap, matrix=matrix, as_json=as_json, preset=preset))


def main() -> None:
    """Entry point of the console script."""
    # With torchao installed, torch logs warnings here that are meant for torchao's authors.
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for good)
    if sys.stdout is None:
        # The next file to be opened would get its descriptor, and then the output.
        print_error("Standard output is closed. Redirect it to /dev/null instead.")
        raise SystemExit(FAILED)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    app()
