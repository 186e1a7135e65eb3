"""What the overhead benchmarks of the two adapters share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from PIL import Image
from rich.console import Console

from benchmarks.results import write_json
from benchmarks.tables import interval
from guardalign_middleware.bench.timing import Call, is_noisy
from guardalign_middleware.encode import png_bytes
from guardalign_middleware.intake.shared_frames import SHARED
from guardalign_middleware.mini.demo import demo_scenes
from guardalign_middleware.types import CanonicalImage

QUESTION = "What is in the picture?"


def demo_png() -> bytes:
    """The first scene of the demo, as PNG."""
    return png_bytes(CanonicalImage(demo_scenes()[0].scene.pixels))


def count_decodings(call: Call) -> int:
    """How often a call decodes a PNG, anywhere in the process."""
    # A picture that earlier calls still hold would not be decoded at all.
    SHARED.forget()
    reader, accept = Image.OPEN["PNG"]
    counting = mock.Mock(side_effect=reader)
    with mock.patch.dict(Image.OPEN, {"PNG": (counting, accept)}):
        call()
    return counting.call_count


def decodings_note(decodings: dict[str, int]) -> str:
    """The sentence about decodings below a table."""
    counts = " and ".join(f"`{name}` {count}" for name, count in decodings.items())
    return f"Times that an image is decoded: {counts}."


def run(
    measure: Callable[[int, int], dict[str, Any]],
    out: Path,
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
) -> None:
    """Measure with the `--pairs` and `--calls` of the command line, print, and store in `out`.

    The first comparison is of a call with itself; if that is noisy, the run is void: nothing is
    stored, and the exit status is 1.
    """
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    result = measure(options.pairs, options.calls)
    console = Console()
    for row in result["comparisons"]:
        ratio = interval(row["ratio"], row["low"], row["high"])
        console.print(f"{row['name']}: {ratio}, {row['added_us']:+.0f} µs")
    if is_noisy(result["comparisons"][0]["ratio"]):
        console.print("void: a call differs from itself by more than 2%")
        sys.exit(1)
    write_json(out, result)
    console.print(f"written: {out}")
