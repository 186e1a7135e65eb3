"""Stage 1: the vision tower learns to name the thing that covers each patch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress, TextColumn
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import CLIPVisionConfig, CLIPVisionModel

from training.llava.scenes import NOTHING, PATCH, SIDE, Scenes
from training.optimizer import Optimizer
from training.precision import reduced_precision

MEAN = 0.5
STD = 0.25


def vision_config() -> CLIPVisionConfig:
    """84 px in patches of 14 px: 36 image tokens."""
    return CLIPVisionConfig(
        hidden_size=160,
        intermediate_size=480,
        num_hidden_layers=4,
        num_attention_heads=5,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=160,
        hidden_act="gelu",
    )


def normalize(pixels: Tensor) -> Tensor:
    """The tower's input from uint8 pixels, as the saved image processor makes it."""
    return (pixels.float() / 255.0 - MEAN) / STD


class PatchReader(nn.Module):
    """The tower, with a linear classifier on the layer whose features LLaVA uses."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = CLIPVisionModel(vision_config())
        self.norm = nn.LayerNorm(160)
        self.reader = nn.Linear(160, NOTHING + 1)

    def features(self, pixels: Tensor) -> Tensor:
        """Patch features `[B, 36, 160]`, as in LLaVA's "default" feature selection."""
        out = self.tower(normalize(pixels), output_hidden_states=True)
        return out.hidden_states[-1][:, 1:]

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits `[B, 36, things + 1]`."""
        return self.reader(self.norm(self.features(pixels).float()))


def train_vision(*, steps: int, batch_size: int, rate: float, seed: int, run: Path) -> PatchReader:
    """Train, resuming from `run/vision.pt`."""
    torch.manual_seed(seed)
    model = PatchReader()
    optimizer = Optimizer(model, rate=rate, steps=steps)
    weights = torch.ones(NOTHING + 1)
    weights[NOTHING] = 0.3
    checkpoint, start = run / "vision.pt", 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    run.mkdir(parents=True, exist_ok=True)
    loader = DataLoader(
        Scenes(seed, batch_size, steps),
        batch_size=None,
        sampler=range(start, steps),
        num_workers=1,
        prefetch_factor=4,
    )
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[shown]}"))
    losses: list[float] = []
    hits: list[float] = []
    with Progress(*columns) as progress, (run / "vision.jsonl").open("a") as log:
        task = progress.add_task("vision", total=steps, completed=start, shown="")
        for step, (pixels, labels) in enumerate(loader, start):
            with reduced_precision(pixels.device):
                logits = model(pixels).float()
            loss = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), weights)
            loss.backward()
            optimizer.step()
            covered = labels != NOTHING
            losses.append(loss.item())
            hits.append((logits.argmax(-1) == labels)[covered].float().mean().item())
            progress.update(task, advance=1, shown=f"loss {losses[-1]:.2f}")
            if (step + 1) % 50 == 0:
                row = {
                    "step": step + 1,
                    "loss": round(float(np.mean(losses)), 4),
                    "covered": round(float(np.mean(hits)), 4),
                }
                log.write(json.dumps(row) + "\n")
                log.flush()
                losses, hits = [], []
            if (step + 1) % 500 == 0 or step + 1 == steps:
                state = {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "step": step + 1,
                }
                torch.save(state, checkpoint)
    return model.eval()
