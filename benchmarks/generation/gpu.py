"""Calibration and guard at the widths of LLaVA-1.5-7B, in bf16 on one GPU, in under 8 minutes.

    python -m benchmarks.generation.gpu

The weights are random, so nothing is downloaded. It measures what `benchmarks.generation.overhead`
measures on a CPU, in elapsed time including the GPU's work, and checks masks, SDPA kernels and
compiled graphs. The exit status is 1 if the run is void or a check fails, and 2 without a GPU.
`--cpu-rehearsal` runs the same code at tiny widths on a CPU; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.generation.kernels import Check, checks
from benchmarks.generation.models import (
    LLAVA_7B,
    TINY,
    build,
    build_guard,
    conversation,
)
from benchmarks.generation.overhead import Found, measure_with, show
from benchmarks.generation.plan import Plan, fitting
from benchmarks.results import RESULTS, write_json
from benchmarks.tables import table
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.guard import GuardAlign

RESULT = RESULTS / "generation_gpu.json"
_MINUTES = 8.0
# For building, compiling and the checks, which do not depend on the length of the answers.
_OTHER_MINUTES = 2.0
_CROWDS = 3
_MARKS = {True: "yes", False: "NO", None: "–"}
_REHEARSAL = Plan(
    pairs=1,
    crowds=1,
    tokens=3,
    few_tokens=2,
    requests=3,
    pictures=True,
    wait_ms=5.0,
    clock=time.perf_counter,
)


def synchronized() -> float:
    """Elapsed time once the GPU is done."""
    torch.cuda.synchronize()
    return time.perf_counter()


def _timed(runner: CalibratedRunner, side: int, plan: Plan, budget: float) -> Plan:
    """The plan that fits the budget on this machine."""

    def seconds(tokens: int) -> float:
        start = plan.clock()
        runner.generate(conversation(0, side), calibrate=False, max_new_tokens=tokens)
        return plan.clock() - start

    seconds(17)  # the first call is much slower than the others
    prompt, longer = seconds(1), seconds(17)
    return fitting(
        plan, prompt_seconds=prompt, token_seconds=max(0.0, longer - prompt) / 16, budget=budget
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=_MINUTES, help="time for everything")
    parser.add_argument("--pairs", type=int, default=Plan.pairs)
    parser.add_argument("--tokens", type=int, default=Plan.tokens, help="longest answer")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument(
        "--cpu-rehearsal", action="store_true", help="tiny widths on a CPU; figures mean nothing"
    )
    options = parser.parse_args(arguments)
    console = Console()
    rehearsal: bool = options.cpu_rehearsal
    if not rehearsal and not torch.cuda.is_available():
        console.print(
            "This measures a GPU, and torch sees none. Use a machine with one and a torch built "
            "for it; benchmarks.generation.overhead measures a CPU.",
            style="red",
        )
        sys.exit(2)
    start = time.monotonic()
    device = torch.device("cpu" if rehearsal else "cuda")
    widths = TINY if rehearsal else LLAVA_7B
    name = "a CPU, as a rehearsal" if rehearsal else torch.cuda.get_device_name()
    plan = _REHEARSAL
    if not rehearsal:
        plan = Plan(
            options.pairs,
            _CROWDS,
            options.tokens,
            few_tokens=8,
            pictures=True,
            clock=synchronized,
        )
    runner = build(
        widths,
        device=device,
        dtype=torch.bfloat16,
        calibration={"gamma": plan.gamma},
        max_wait_ms=plan.wait_ms,
    )
    chain = GuardAlign(build_guard(widths.guard, device), runner)
    if not rehearsal:
        budget = (options.minutes - _OTHER_MINUTES) * 60
        plan = _timed(runner, widths.image_size, plan, budget)
    found = measure_with(runner, chain, widths, plan)
    checked = checks(runner, widths, backend="eager" if rehearsal else "inductor")
    show(found, f"generation on {name}")
    console.print(_shown(checked))
    minutes = (time.monotonic() - start) / 60
    console.print(f"{minutes:.1f} minutes")
    machine = {"device": name, "torch": torch.__version__, "minutes": minutes}
    write_json(options.out, result(found, checked, machine))
    sys.exit(bool(found.faults) or any(check.right is False for check in checked))


def result(found: Found, checked: Sequence[Check], machine: dict[str, Any]) -> dict[str, Any]:
    """What is stored; the notes of both tables name the machine."""
    where = f"{machine['device']}, torch {machine['torch']}."
    figures = replace(found, note=f"{found.note} {where}").to_json("generation_gpu")
    rows = [[check.asked, check.found, _MARKS[check.right]] for check in checked]
    figures["tables"]["generation_gpu_checks"] = table(["check", "found", "right"], rows, where)
    return figures | machine | {"checks": [asdict(check) for check in checked]}


def _shown(checked: Sequence[Check]) -> Table:
    shown = Table("check", "found", "right")
    for check in checked:
        shown.add_row(check.asked, check.found, _MARKS[check.right])
    return shown


if __name__ == "__main__":
    main()
