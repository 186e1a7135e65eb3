"""Train the miniature open_clip encoder and save it as a `local-dir:` folder.

The text tower embeds one caption of every concept, and each crop is pulled towards the captions of
the things it shows. The loss is the cross-entropy over all concepts: like in-batch InfoNCE, but
without the false negatives that a world of 208 concepts would cause.
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
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from guardalign_middleware.mini.world import CONCEPTS, UNSAFE_CATEGORIES
from training.clip.attention import attend_by_products
from training.clip.captions import CONTEXT_LENGTH, KINDS, bank, tokenizer, vocabulary
from training.clip.data import IGNORED, OTHER, PATCH, SIDE, Crops
from training.clip.warm import adopt_encoder, adopt_tower
from training.optimizer import Optimizer
from training.precision import reduced_precision

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
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
    "interpolation": "bicubic",
    "resize_mode": "squash",
}
SCENE_SHARE = 0.5
_MAX_SCALE = 40.0
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


class Objective(nn.Module):
    """The loss: crops against concepts and kinds, patches against concepts, and the scene term.

    The patch term makes a small model learn fast: 49 labels per picture instead of one. The scene
    term matches the detector, which judges a scene by its most unsafe crop: a crop with something
    unsafe has to score higher than every crop without.
    """

    weights: Tensor
    unsafe: Tensor
    unsafe_kinds: Tensor

    def __init__(self, model: open_clip.CLIP) -> None:
        super().__init__()
        self.model = model
        self.model.visual.output_tokens = True
        weights = torch.ones(len(CONCEPTS) + 1)
        weights[-1] = 0.3
        self.register_buffer("weights", weights)
        marks = [concept.unsafe is not None for concept in CONCEPTS]
        self.register_buffer("unsafe", torch.tensor([*marks, False]))
        kinds = [kind in UNSAFE_CATEGORIES for kind in KINDS]
        self.register_buffer("unsafe_kinds", torch.tensor([*kinds, False]))

    def forward(
        self,
        pixels: Tensor,
        captions: tuple[Tensor, Tensor],
        targets: tuple[Tensor, Tensor],
        patches: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, top-1 accuracy of crops that show mostly one thing, and of patches with a thing."""
        mean, std = PREPROCESS["mean"][0], PREPROCESS["std"][0]
        with reduced_precision(pixels.device):
            pooled, tokens = self.model.visual((pixels.float() / 255.0 - mean) / std)
            tokens = tokens @ self.model.visual.proj
            texts = self.model.encode_text(torch.cat(captions))
        images = functional.normalize(pooled.float(), dim=-1)
        tokens = functional.normalize(tokens.float(), dim=-1)
        texts = functional.normalize(texts.float(), dim=-1)
        scale = self.model.logit_scale.exp().clamp(max=_MAX_SCALE)
        concepts = texts[: len(captions[0])]
        kinds = torch.cat([texts[len(concepts) :], concepts[-1:]])
        logits = scale * images @ concepts.T
        kind_logits = scale * images @ kinds.T
        patch_logits = (scale * tokens @ concepts.T).flatten(0, 1)
        labels = patches.flatten()
        loss = (
            named_or_harmless(logits, targets[0], self.unsafe)
            + 0.25 * named_or_harmless(kind_logits, targets[1], self.unsafe_kinds)
            + self.patch_loss(patch_logits, labels)
            + SCENE_SHARE * self.scene_loss(logits, targets[0][:, :-1])
        )
        clear = targets[0][:, : len(CONCEPTS)].amax(dim=1) > 0.9
        right = (logits.argmax(dim=1) == targets[0].argmax(dim=1))[clear]
        shows = (labels != IGNORED) & (labels < len(CONCEPTS))
        patch_right = (patch_logits.argmax(dim=1) == labels)[shows]
        return loss, right.float().mean(), patch_right.float().mean()

    def patch_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the patches; for something else, of being no unsafe thing."""
        strange = labels == OTHER
        named = labels.masked_fill(strange, IGNORED)
        loss = functional.cross_entropy(logits, named, self.weights, ignore_index=IGNORED)
        if not strange.any():
            return loss
        odds = logits[strange].log_softmax(1)
        missed = -odds[:, ~self.unsafe].logsumexp(1).mean()
        share = strange.sum() / (labels != IGNORED).sum()
        return loss + share * missed

    def scene_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of finding each unsafe crop among all crops without anything unsafe.

        Args:
            logits: `[B, concepts + 1]`.
            targets: visible share of each concept, `[B, concepts + 1]`; rows sum to 1.
        """
        alarm = logits[:, self.unsafe].logsumexp(1) - logits[:, ~self.unsafe].logsumexp(1)
        share = targets[:, self.unsafe].sum(1)
        among = alarm.masked_fill(share > 0, -math.inf).logsumexp(0)
        missed = functional.softplus(among - alarm).where(share > 0.5, 0.0)
        return missed.sum() / (share > 0.5).sum().clamp(min=1)


def named_or_harmless(logits: Tensor, targets: Tensor, unsafe: Tensor) -> Tensor:
    """Cross-entropy with a distribution whose last part has no name.

    That part is something else: any harmless word may take it, and no unsafe one.

    Args:
        logits: `[B, C]`.
        targets: `[B, C + 1]`; rows sum to 1.
        unsafe: which of the C words are unsafe, `[C]`.
    """
    odds = logits.log_softmax(1)
    harmless = odds[:, ~unsafe].logsumexp(1)
    return -((targets[:, :-1] * odds).sum(1) + targets[:, -1] * harmless).mean()


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
