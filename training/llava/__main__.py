"""Train the miniature LLaVA from scratch: `python -m training.llava`; stages resume.

Four stages run once: the vision tower, the language on scenes as words, the projector, and lists.
The last stage, tuning on drawn scenes with all questions, runs once per seed. The model of the
first seed is shipped; the others show the sweep how much a figure depends on chance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console

from training.llava.dialogues import EVEN, LISTING, MOSTLY_LISTING
from training.llava.language import Stage, adopt_tower, align_projector, train_language
from training.llava.package import save, untrained
from training.llava.scenes import MANY
from training.llava.vision import train_vision

WORDS = Stage("words", "words", 1700, batch_size=24, questions=6, odds=EVEN, rate=2e-3)
# Many pictures with few questions each: a second list of the same things teaches little.
LISTS = Stage("lists", "vision", 800, batch_size=64, questions=2, odds=MOSTLY_LISTING, rate=1e-3)
# Lists of three things are the hardest.
TUNING = Stage(
    "tuning", "vision", 1500, batch_size=40, questions=3, odds=LISTING, rate=8e-4, counts=MANY
)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vision-steps", type=int, default=2400)
    parser.add_argument("--align-steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="seed of the stages that run once")
    parser.add_argument("--tune-seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--run", type=Path, default=Path("runs/llava"))
    parser.add_argument("--out", type=Path, default=Path("guardalign_middleware/mini/llava"))
    options = parser.parse_args()
    console = Console()
    torch.set_num_threads(1)
    seed, run = options.seed, options.run
    reader = train_vision(steps=options.vision_steps, batch_size=128, rate=2e-3, seed=seed, run=run)
    torch.manual_seed(seed)
    model = untrained()
    train_language(model, WORDS, seed=seed + 1, run=run)
    adopt_tower(model, reader.tower)
    right = align_projector(
        model, steps=options.align_steps, batch_size=64, rate=2e-3, seed=seed + 2
    )
    console.print(f"projector: {right:.1%} of covered patches land on the right word")
    train_language(model, LISTS, seed=seed + 3, run=run)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    for number, tune_seed in enumerate(options.tune_seeds):
        model.load_state_dict(start)
        tuned = run / f"seed-{tune_seed}"
        train_language(model, TUNING, seed=1_000 + tune_seed, run=tuned)
        out = options.out if number == 0 else tuned / "model"
        save(model, out)
        console.print(f"saved {out}")


if __name__ == "__main__":
    main()
