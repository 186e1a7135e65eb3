"""The command `guardalign bench` and its options; implementations are imported on use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from guardalign_middleware.cli.options import Preset
from guardalign_middleware.cli.running import run


def bench(
    images: Annotated[
        list[str] | None,
        typer.Option("--images", metavar="PATH", help="Also scan these: file or folder."),
    ] = None,
    pairs: Annotated[
        int, typer.Option(min=3, help="Timings for each ratio; with fewer than 20 the run is void.")
    ] = 20,
    tokens: Annotated[int, typer.Option(min=1, help="Length of every answer.")] = 64,
    scan_only: Annotated[
        bool, typer.Option("--scan-only", help="Leave the preset's model out.")
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="Of encoder and model. Default: as in the preset.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Page of results.")] = Path("bench.md"),
    results: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all results as JSON.")
    ] = None,
    preset: Preset = "mini",
) -> None:
    """Measure scans, answers, guarded ÷ unguarded and memory on this machine.

    Needs no threshold profile. Calls are compared in turns and with themselves; if a call differs
    from itself by more than 2%, the run is void. Nothing is sent anywhere: the page is yours to
    paste into an issue, and names no file.

    Exit status: 0 measured, 1 the run is void, 2 an image cannot be read, 3 the program failed.
    """
    from guardalign_middleware.cli.bench import run_bench

    run(
        lambda: run_bench(
            images or [],
            pairs=pairs,
            tokens=tokens,
            scan_only=scan_only,
            device=device,
            target=out,
            results=results,
            preset=preset,
        )
    )
