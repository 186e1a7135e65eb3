"""Train the miniature open_clip encoder and save it as a `local-dir:` folder.

The text tower embeds one caption of every concept, and each crop is pulled towards the captions of
the things it shows; see `training.clip.objective`.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from rich.progress import Progress, TextColumn
from safetensors.torch import save_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from training.clip.attention import attend_by_products
from training.clip.captions import CONTEXT_LENGTH, bank, tokenizer, vocabulary
from training.clip.data import PATCH, SIDE, Crops
from training.clip.objective import DEVIATION, MEAN, Objective
from training.clip.warm import adopt_encoder, adopt_tower
from training.optimizer import Optimizer

MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {
        "image_size": SIDE,
        "patch_size": PATCH,
        "width": 160,
        "layers": 4,
        "head_width": 32,
        "mlp_ratio": 3.0,
    },
    "text_cfg": {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": len(vocabulary()),
        "hf_tokenizer_name": ".",
        "tokenizer_kwargs": {"clean": "whitespace"},
        "width": 128,
        "heads": 4,
        "layers": 2,
        "pool_type": "argmax",
    },
}
PREPROCESS: dict[str, Any] = {
    "size": SIDE,
    "mode": "RGB",
    "mean": [MEAN] * 3,
    "std": [DEVIATION] * 3,
    "interpolation": "bicubic",
    "resize_mode": "squash",
}
Batch = tuple[Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor]
"""Pixels; tokens of the captions of concepts and of kinds; targets over both; patch labels."""


def build() -> open_clip.CLIP:
    """The untrained model."""
    vision, text = dict(MODEL_CONFIG["vision_cfg"]), dict(MODEL_CONFIG["text_cfg"])
    model = open_clip.CLIP(MODEL_CONFIG["embed_dim"], vision, text)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(14.0))
    return model


def tokenized(captions: list[str]) -> Tensor:
    """Token ids `[N, CONTEXT_LENGTH]`."""
    encoded = tokenizer()(
        captions, padding="max_length", max_length=CONTEXT_LENGTH, return_tensors="pt"
    )
    return encoded["input_ids"]


class Batches(Dataset[Batch]):
    """`Crops` with captions; batch `i` depends on the seed and `i` only."""

    def __init__(self, seed: int, batch_size: int, steps: int) -> None:
        self.seed = seed
        self.crops = Crops(seed, batch_size, steps)

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.crops)

    def __getitem__(self, index: int) -> Batch:
        """The arguments of `Objective` for one step."""
        pixels, concepts, kinds, patches = self.crops[index]
        first, second = bank(np.random.default_rng((self.seed, 7, index)))
        return pixels, (tokenized(first), tokenized(second)), (concepts, kinds), patches


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device."""
    pixels, captions, targets, patches = batch
    return (
        pixels.to(device),
        (captions[0].to(device), captions[1].to(device)),
        (targets[0].to(device), targets[1].to(device)),
        patches.to(device),
    )


def save(model: open_clip.CLIP, out: Path) -> None:
    """Write config, fp16 weights and tokenizer in the layout of open_clip's `local-dir:`."""
    out.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": MODEL_CONFIG, "preprocess_cfg": PREPROCESS}
    (out / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    state = {
        name: value.half().contiguous() if value.is_floating_point() else value.contiguous()
        for name, value in model.state_dict().items()
    }
    save_file(state, out / "open_clip_model.safetensors")
    tokenizer().save_pretrained(out)
    for leftover in out.glob("special_tokens_map.json"):
        leftover.unlink()


class Learner:
    """A model in training, with the exponential average of its weights and the optimizer.

    Args:
        model: trained in place.
        steps: total number.
        rate: peak learning rate.
    """

    def __init__(self, model: open_clip.CLIP, *, steps: int, rate: float) -> None:
        self.model = model
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.996))
        for transformer in (model.visual.transformer, model.transformer):
            attend_by_products(transformer)
        self.objective = Objective(model).to(next(model.parameters()).device)
        self.optimizer = Optimizer(model, rate=rate, steps=steps)

    def step(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """One optimizer step; returns what `Objective` returns."""
        losses: tuple[Tensor, Tensor, Tensor] = self.objective(*batch)
        losses[0].backward()
        self.optimizer.step()
        self.average.update_parameters(self.model)
        return losses

    @property
    def learned(self) -> open_clip.CLIP:
        """The averaged model."""
        averaged: open_clip.CLIP = self.average.module
        return averaged.eval()

    def state_dict(self) -> dict[str, Any]:
        """The state to resume from."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore such a state."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])


def train(
    model: open_clip.CLIP,
    *,
    steps: int,
    batch_size: int,
    peak_rate: float,
    seed: int,
    run: Path,
    workers: int,
) -> open_clip.CLIP:
    """Train on the model's device, resuming from `run`; returns the averaged model."""
    device = next(model.parameters()).device
    learner = Learner(model, steps=steps, rate=peak_rate)
    checkpoint = run / "checkpoint.pt"
    start = 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        learner.load_state_dict(state)
        start = state["step"]
    run.mkdir(parents=True, exist_ok=True)
    loader = DataLoader(
        Batches(seed, batch_size, steps),
        batch_size=None,
        sampler=range(start, steps),
        num_workers=workers,
        prefetch_factor=4,
    )
    log = (run / "log.jsonl").open("a")
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[shown]}"))
    recent: list[Tensor] = []
    with Progress(*columns) as progress, log:
        task = progress.add_task("clip", total=steps, completed=start, shown="")
        for step, batch in enumerate(loader, start):
            recent.append(torch.stack(learner.step(moved(batch, device))).detach())
            progress.update(task, advance=1)
            if (step + 1) % 50 == 0:
                loss, top1, patch_top1 = torch.stack(recent).nanmean(dim=0).tolist()
                row = {
                    "step": step + 1,
                    "loss": round(loss, 4),
                    "top1": round(top1, 4),
                    "patch_top1": round(patch_top1, 4),
                    "scale": round(model.logit_scale.exp().item(), 2),
                }
                log.write(json.dumps(row) + "\n")
                log.flush()
                progress.update(task, shown=f"loss {loss:.2f}")
                recent = []
            if (step + 1) % 500 == 0 or step + 1 == steps:
                torch.save({**learner.state_dict(), "step": step + 1}, run / "checkpoint.tmp")
                shutil.move(run / "checkpoint.tmp", checkpoint)
    return learner.learned


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--peak-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, default=Path("runs/clip"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw the crops")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--tower", type=Path, help="start from a checkpoint of training.llava")
    begin.add_argument(
        "--encoder", type=Path, help="continue from a folder written by this command"
    )
    parser.add_argument("--out", type=Path, default=Path("guardalign_middleware/mini/clip"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)  # denormal gradients are slow
    torch.manual_seed(options.seed)
    model = build()
    if options.tower is not None:
        adopt_tower(model.visual, options.tower)
    if options.encoder is not None:
        adopt_encoder(model, options.encoder)
    learned = train(
        model.to(options.device),
        steps=options.steps,
        batch_size=options.batch_size,
        peak_rate=options.peak_rate,
        seed=options.seed,
        run=options.run,
        workers=options.workers,
    )
    save(learned.cpu(), options.out)


if __name__ == "__main__":
    main()
