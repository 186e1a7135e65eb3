"""Train the miniature LLaVA from nothing: `python -m training.llava`; stages resume."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console

from training.llava.language import adopt_tower, align_projector, train_language
from training.llava.package import save, untrained
from training.llava.vision import train_vision


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vision-steps", type=int, default=1800)
    parser.add_argument("--word-steps", type=int, default=1600)
    parser.add_argument("--align-steps", type=int, default=300)
    parser.add_argument("--tune-steps", type=int, default=700)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, default=Path("runs/llava"))
    parser.add_argument("--out", type=Path, default=Path("guardalign_middleware/mini/llava"))
    options = parser.parse_args()
    console = Console()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    seed, run = options.seed, options.run
    reader = train_vision(steps=options.vision_steps, batch_size=128, rate=2e-3, seed=seed, run=run)
    model = untrained()
    train_language(
        model,
        source="words",
        steps=options.word_steps,
        batch_size=32,
        rate=2e-3,
        seed=seed + 1,
        run=run,
    )
    adopt_tower(model, reader.tower)
    right = align_projector(
        model, steps=options.align_steps, batch_size=64, rate=2e-3, seed=seed + 2
    )
    console.print(f"projector: {right:.1%} of covered patches land on the right word")
    train_language(
        model,
        source="vision",
        steps=options.tune_steps,
        batch_size=32,
        rate=6e-4,
        seed=seed + 3,
        run=run,
    )
    save(model, options.out)
    console.print(f"saved {options.out}")


main()
