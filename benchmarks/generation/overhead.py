"""The cost of calibration and of the guard, and the gain from batching.

    python -m benchmarks.generation.overhead

A LLaVA with random weights, which is as fast as a trained one, answers a question about a picture.
The default widths fit one core of a laptop, with a prompt as long as that of LLaVA-1.5 (576 image
tokens). All calls are timed in turns in one process; the figures are ratios of CPU time with 95%
intervals. If the plain call differs from itself by more than 2%, or a check fails, the run is void
and the exit status is 1. `benchmarks.generation.gpu` measures the same at 7B widths.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.generation.memory import Memory, measure_memory
from benchmarks.generation.models import (
    LAPTOP,
    TINY,
    Widths,
    build,
    build_guard,
    conversation,
    eager,
)
from benchmarks.generation.plan import Plan
from benchmarks.results import RESULTS, write_json
from benchmarks.tables import table
from guardalign_middleware.bench.timing import Comparison, compare_in_turn, is_noisy
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.generation.awaiting import agenerate_batch
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.replies import Generated
from guardalign_middleware.types import Message

RESULT = RESULTS / "generation_overhead.json"
_WIDTHS = {"laptop": LAPTOP, "tiny": TINY}


@dataclass(frozen=True)
class Line:
    """One row of the table: what was measured, the figure, and its goal."""

    measured: str
    found: str
    goal: str


@dataclass(frozen=True, eq=False)
class Found:
    """All figures.

    Attributes:
        lines: the table.
        note: below the table: models, prompt and number of pairs.
        faults: why the run is void; empty if it is valid.
        ratios: every comparison.
        memory: of reading one prompt: plain, calibrated, and with eager attention.
        equal: number of answers that are the same one by one, from threads and from tasks.
    """

    lines: tuple[Line, ...]
    note: str
    faults: tuple[str, ...]
    ratios: tuple[Comparison, ...]
    memory: dict[str, Memory]
    equal: int

    def to_json(self, name: str) -> dict[str, Any]:
        """For the results folder; `benchmarks.pages.figures` reads `tables`."""
        rows = [[line.measured, line.found, line.goal] for line in self.lines]
        void = f" **This run is void: {'; '.join(self.faults)}.**" if self.faults else ""
        return {
            "tables": {name: table(["measured", "found", "goal"], rows, self.note + void)},
            "void": list(self.faults),
            "ratios": [asdict(ratio) for ratio in self.ratios],
            "equal_answers": self.equal,
            "memory": {how: asdict(memory) for how, memory in self.memory.items()},
        }


class Arms:
    """The calls that are compared, with one runner and one guard."""

    def __init__(self, runner: CalibratedRunner, chain: GuardAlign, side: int, plan: Plan) -> None:
        self.runner = runner
        self.chain = chain
        self.plan = plan
        self.messages = conversation(side=side)
        self.requests = [
            conversation(seed, side if plan.pictures else None) for seed in range(plan.requests)
        ]
        self._zero = runner.at_gamma(0.0)

    def plain(self, tokens: int) -> Generated:
        """With the prefix, without calibration."""
        return self.runner.generate(self.messages, calibrate=False, max_new_tokens=tokens)

    def calibrated(self, tokens: int) -> Generated:
        """With prefix and calibration."""
        return self.runner.generate(self.messages, max_new_tokens=tokens)

    def gamma_zero(self, tokens: int) -> Generated:
        """Through the calibrated path with γ = 0."""
        return self._zero.generate(self.messages, max_new_tokens=tokens)

    def over_eager(self, tokens: int) -> Generated:
        """Calibrated, over eager attention."""
        with eager(self.runner):
            return self.calibrated(tokens)

    def unguarded(self, tokens: int) -> Generated:
        """The model alone."""
        return self.runner.generate(
            self.messages, prefix=False, calibrate=False, max_new_tokens=tokens
        )

    def guarded(self, tokens: int) -> object:
        """The whole chain."""
        return self.chain.invoke(self.messages, max_new_tokens=tokens)

    def serial(self) -> list[str]:
        """All requests, one by one."""
        tokens = self.plan.few_tokens
        return [self.runner.generate(row, max_new_tokens=tokens).text for row in self.requests]

    def threads(self) -> list[str]:
        """All requests at once, from threads."""

        def ask(row: list[Message]) -> str:
            return self.runner.generate(row, max_new_tokens=self.plan.few_tokens).text

        with ThreadPoolExecutor(self.plan.requests) as pool:
            return list(pool.map(ask, self.requests))

    def tasks(self) -> list[str]:
        """All requests at once, from tasks."""

        async def ask(row: list[Message]) -> str:
            tokens = self.plan.few_tokens
            return (await agenerate_batch(self.runner, [row], max_new_tokens=tokens))[0].text

        async def every() -> list[str]:
            return await asyncio.gather(*map(ask, self.requests))

        return asyncio.run(every())

    def read_prompt(self, *, calibrate: bool) -> Memory:
        """Memory of the first forward pass."""
        runner = self.runner
        options = runner._requests.resolve({"max_new_tokens": 1})
        job = runner._job(self.messages, options, prefix=True, calibrate=calibrate)
        return measure_memory(lambda: runner._inference.answer([job]), runner._model)


def measure(widths: Widths, plan: Plan, *, device: torch.device, dtype: torch.dtype) -> Found:
    """Build a model and measure calibration, its memory, a guarded request and batching."""
    runner = build(
        widths,
        device=device,
        dtype=dtype,
        calibration={"gamma": plan.gamma},
        max_wait_ms=plan.wait_ms,
    )
    chain = GuardAlign(build_guard(widths.guard, device), runner)
    return measure_with(runner, chain, widths, plan)


def measure_with(runner: CalibratedRunner, chain: GuardAlign, widths: Widths, plan: Plan) -> Found:
    """`measure` with an existing runner and chain."""
    arms = Arms(runner, chain, widths.image_size, plan)
    tokens, few, count = plan.tokens, plan.few_tokens, plan.requests
    again, calibrated = compare_in_turn(
        lambda: arms.plain(tokens),
        {
            "plain ÷ itself": lambda: arms.plain(tokens),
            "calibrated ÷ plain": lambda: arms.calibrated(tokens),
        },
        pairs=plan.pairs,
        clock=plan.clock,
    )
    zero, over_eager = compare_in_turn(
        lambda: arms.plain(few),
        {
            "γ = 0 ÷ plain": lambda: arms.gamma_zero(few),
            "calibrated over eager attention ÷ plain": lambda: arms.over_eager(few),
        },
        pairs=plan.pairs,
        clock=plan.clock,
    )
    (guarded,) = compare_in_turn(
        lambda: arms.unguarded(tokens),
        {"guarded ÷ unguarded request": lambda: arms.guarded(tokens)},
        pairs=plan.pairs,
        clock=plan.clock,
    )
    one_by_one, from_tasks = compare_in_turn(
        arms.threads,
        {
            f"one by one ÷ from {count} threads": arms.serial,
            f"{count} tasks ÷ {count} threads": arms.tasks,
        },
        pairs=plan.crowds,
        clock=plan.clock,
    )
    memory = {
        how: arms.read_prompt(calibrate=how == "calibrated") for how in ("plain", "calibrated")
    }
    with eager(runner):
        memory["eager"] = arms.read_prompt(calibrate=False)
    ratios = (again, calibrated, zero, over_eager, guarded, one_by_one, from_tasks)
    answers = zip(arms.serial(), arms.threads(), arms.tasks(), strict=True)
    equal = sum(len(set(row)) == 1 for row in answers)
    prompt = runner.count_tokens(arms.messages)
    return Found(
        _lines(ratios, memory, equal, plan),
        f"Random weights: {widths.description}, in "
        f"{str(runner._model.dtype).removeprefix('torch.')}; a prompt of {prompt} tokens; "
        f"{plan.pairs} pairs a ratio, {plan.crowds} where {count} requests are made; "
        "ratio (95% interval).",
        tuple(faults(arms, again, memory, equal, widths.heads * prompt * prompt)),
        ratios,
        memory,
        equal,
    )


def _lines(
    ratios: Sequence[Comparison], memory: dict[str, Memory], equal: int, plan: Plan
) -> tuple[Line, ...]:
    again, calibrated, zero, over_eager, guarded, one_by_one, from_tasks = map(str, ratios)
    whole = memory["calibrated"].peak_bytes / memory["plain"].peak_bytes
    working = memory["calibrated"].working_bytes / memory["plain"].working_bytes
    answer, short = f"{plan.tokens} tokens", f"{plan.few_tokens} tokens"
    count = plan.requests
    many = f"{count} requests {'with' if plan.pictures else 'without'} pictures"
    return (
        Line(f"plain ÷ itself, {answer}", again, "0.98 to 1.02, or the run is void"),
        Line(f"calibrated ÷ plain, {answer}", calibrated, "≤ 1.02"),
        Line(f"γ = 0 ÷ plain, {short}", zero, "≤ 1.005"),
        Line(
            f"calibrated over eager attention ÷ plain, {short}",
            over_eager,
            "more than calibrated",
        ),
        Line("peak memory of the prompt, calibrated ÷ plain", f"{whole:.3f}", "≤ 1.02"),
        Line("the same without the weights", f"{working:.3f}", ""),
        Line(f"guarded ÷ unguarded request, {answer}", guarded, "≤ 1.05 on a GPU at 7B widths"),
        Line(
            f"{many} one by one ÷ from {count} threads, {short}",
            one_by_one,
            "≥ 6 on a device that gains from batches",
        ),
        Line(f"the same from {count} tasks ÷ threads, {short}", from_tasks, ""),
        Line(
            "answers that are the same in all three ways",
            f"{equal} of {count}",
            f"{count} in float32; in bf16 the batch's shape rounds differently",
        ),
    )


def faults(
    arms: Arms, again: Comparison, memory: dict[str, Memory], equal: int, scores: int
) -> list[str]:
    """Why the run is void.

    Args:
        arms: to compare the answers with γ = 0.
        again: the plain call against itself.
        memory: of reading the prompt.
        equal: number of concurrent answers equal to those one by one.
        scores: number of attention scores in the prompt: heads × queries × keys.
    """
    found = []
    if is_noisy(again.ratio):
        found.append("the machine is too noisy: the plain arm differs from itself")
    few = arms.plan.few_tokens
    if arms.gamma_zero(few).text != arms.plain(few).text:
        found.append("γ = 0 gives another answer than the plain model")
    if arms.runner._model.dtype == torch.float32 and equal < arms.plan.requests:
        found.append("concurrent answers differ from those one by one")
    if memory["calibrated"].largest_numel >= scores:
        found.append("calibration made a score for every head, query and key")
    if memory["eager"].largest_numel < scores:
        found.append("the memory check does not see the scores of eager attention")
    return found


def show(found: Found, title: str) -> None:
    """Print the table and the faults."""
    shown = Table("measured", "found", "goal", title=title, caption=found.note)
    for line in found.lines:
        shown.add_row(line.measured, line.found, line.goal)
    console = Console()
    console.print(shown)
    for fault in found.faults:
        console.print(f"void: {fault}", style="red")


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", choices=sorted(_WIDTHS), default="laptop")
    parser.add_argument("--pairs", type=int, default=Plan.pairs)
    parser.add_argument("--tokens", type=int, default=Plan.tokens)
    parser.add_argument("--few-tokens", type=int, default=Plan.few_tokens)
    parser.add_argument("--gamma", type=float, default=Plan.gamma)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    plan = Plan(
        options.pairs, options.pairs, options.tokens, options.few_tokens, gamma=options.gamma
    )
    found = measure(
        _WIDTHS[options.widths],
        plan,
        device=torch.device("cpu"),
        dtype=getattr(torch, options.dtype),
    )
    show(found, "generation on one CPU core")
    write_json(options.out, found.to_json("generation_overhead"))
    sys.exit(bool(found.faults))


if __name__ == "__main__":
    main()
