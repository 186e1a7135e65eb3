"""Calibration and guard at the widths of LLaVA-1.5-7B, in bf16 on one GPU, in under 8 minutes.

    python -m benchmarks.generation.gpu

Random weights: nothing is downloaded, and speed needs no trained ones. It measures what
`benchmarks.generation.overhead` does on a CPU, with a wall clock around calls that end with the
GPU's work, and checks masks, SDPA kernels and compiled graphs. Exit status 1 when the run is void
or a check fails, 2 without a GPU. `--cpu-rehearsal` runs the same code at tiny widths on a CPU; its
figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
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
    CONCURRENT,
    LLAVA_7B,
    TINY,
    build,
    build_guard,
    conversation,
)
from benchmarks.generation.overhead import Plan, measure_with, show
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.guard import GuardAlign

RESULT = Path(__file__).parents[1] / "results" / "generation_gpu.json"
_MINUTES = 8.0
# Building, compiling and the checks, which do not depend on the length of an answer.
_OTHER_MINUTES = 2.0
_CROWDS = 3
_MARKS = {True: "yes", False: "NO", None: "–"}
_REHEARSAL = Plan(pairs=2, crowds=2, tokens=4, few_tokens=2, pictures=True, clock=time.perf_counter)


def synchronized() -> float:
    """Wall clock that waits for the GPU."""
    torch.cuda.synchronize()
    return time.perf_counter()


def fitting(plan: Plan, *, prompt_seconds: float, token_seconds: float, budget: float) -> Plan:
    """The plan with as many tokens an answer as the budget allows; the pairs stay.

    Args:
        plan: what one would like.
        prompt_seconds: of reading one prompt.
        token_seconds: of every further token.
        budget: seconds for all answers.

    Raises:
        ValueError: not even answers of 8 tokens fit.
    """
    rounds = plan.pairs + 1

    def seconds(one: Plan) -> float:
        answers = 5 * rounds * (prompt_seconds + one.tokens * token_seconds)
        short = 3 * rounds * (prompt_seconds + one.few_tokens * token_seconds)
        # One by one, and twice all at once: a pass of 16 prompts costs 16 prompts.
        crowd = CONCURRENT * (3 * prompt_seconds + one.few_tokens * token_seconds * 1.2)
        return answers + short + (one.crowds + 1) * crowd

    for tokens in range(plan.tokens, 7, -1):
        fits = replace(plan, tokens=tokens, few_tokens=min(plan.few_tokens, tokens))
        if seconds(fits) <= budget:
            return fits
    raise ValueError(f"Answers of 8 tokens would take longer than {budget:.0f} seconds.")


def _timed(runner: CalibratedRunner, side: int, plan: Plan, budget: float) -> Plan:
    """The plan that fits this machine."""

    def seconds(tokens: int) -> float:
        start = plan.clock()
        runner.generate(conversation(0, side), calibrate=False, max_new_tokens=tokens)
        return plan.clock() - start

    seconds(17)  # the first call takes much longer than all others
    prompt, longer = seconds(1), seconds(17)
    return fitting(
        plan, prompt_seconds=prompt, token_seconds=max(0.0, longer - prompt) / 16, budget=budget
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=_MINUTES, help="for everything")
    parser.add_argument("--pairs", type=int, default=Plan.pairs)
    parser.add_argument("--tokens", type=int, default=Plan.tokens, help="of an answer, if they fit")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--cpu-rehearsal", action="store_true", help="tiny widths; means nothing")
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
    runner = build(
        widths,
        device=device,
        dtype=torch.bfloat16,
        calibration={"gamma": Plan.gamma},
        max_wait_ms=50.0,
    )
    chain = GuardAlign(build_guard(widths.guard, device), runner)
    plan = _REHEARSAL
    if not rehearsal:
        wanted = Plan(
            options.pairs,
            _CROWDS,
            options.tokens,
            few_tokens=8,
            pictures=True,
            clock=synchronized,
        )
        budget = (options.minutes - _OTHER_MINUTES) * 60
        plan = _timed(runner, widths.image_size, wanted, budget)
    found = measure_with(runner, chain, widths, plan)
    checked = checks(runner, widths, backend="eager" if rehearsal else "inductor")
    show(found, f"generation on {name}")
    console.print(_table(checked))
    minutes = (time.monotonic() - start) / 60
    console.print(f"{minutes:.1f} minutes")
    told = published(
        found.to_json("generation_gpu"),
        checked,
        {"device": name, "torch": torch.__version__, "minutes": minutes},
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.exit(bool(found.faults) or any(check.right is False for check in checked))


def published(told: dict[str, Any], checked: Sequence[Check], on: dict[str, Any]) -> dict[str, Any]:
    """What the results folder keeps; both tables say what they were measured on."""
    where = f"{on['device']}, torch {on['torch']}."
    told["tables"]["generation_gpu"]["told"] += f" {where}"
    rows = [[check.asked, check.found, _MARKS[check.right]] for check in checked]
    table = {"head": ["check", "found", "right"], "rows": rows, "told": where}
    told["tables"]["generation_gpu_checks"] = table
    return told | on | {"checks": [asdict(check) for check in checked]}


def _table(checked: Sequence[Check]) -> Table:
    table = Table("check", "found", "right")
    for check in checked:
        table.add_row(check.asked, check.found, _MARKS[check.right])
    return table


if __name__ == "__main__":
    main()
