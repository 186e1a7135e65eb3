"""Train the models of the study, one per seed: `python -m training.study`; training resumes.

Each model starts as the shipped miniature, grown to eight layers and a few more words, and learns
the meaning of the study's prefixes. The seed determines the new words' embeddings and all batches.
The models are measured with `python -m training.study.sweep`, and not shipped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console

from training.llava.language import train_language
from training.llava.package import load, save
from training.study.data import FORM, Curriculum, stage
from training.study.growth import grow


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--llava", type=Path, default=Path("guardalign_middleware/mini/llava"))
    parser.add_argument("--run", type=Path, default=Path("runs/study"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw the batches")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    base = load(options.llava).state_dict()
    for seed in options.seeds:
        torch.manual_seed(2_000 + seed)
        model = grow(base, FORM).to(options.device)
        run = options.run / f"seed-{seed}"
        train_language(
            model,
            stage(options.steps),
            seed=2_000 + seed,
            run=run,
            data=Curriculum(options.steps, 2_000 + seed),
            workers=options.workers,
        )
        save(model.cpu(), run / "model", FORM)
        Console().print(f"saved {run / 'model'}")


if __name__ == "__main__":
    main()
