"""Train the miniature open_clip encoder and save it as a `local-dir:` folder.

A CLIP on a closed world: the text tower embeds one caption of every concept, and each crop is
pulled towards the captions of what it shows (cross-entropy against the whole bank, which is
in-batch InfoNCE without the false negatives that 208 concepts would give it).
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
from torch.utils.data import DataLoader

from guardalign_middleware.mini.world import CONCEPTS
from training.clip.attention import attend_by_products
from training.clip.captions import CONTEXT_LENGTH, bank, tokenizer, vocabulary
from training.clip.data import IGNORED, PATCH, SIDE, Crops
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
_MAX_SCALE = 40.0


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


class Objective(nn.Module):
    """Crops against the concept bank and the kinds, and each patch against the concept bank.

    The patch term is what makes so small a model learn so fast: 49 labels a picture, not one.
    """

    weights: Tensor

    def __init__(self, model: open_clip.CLIP) -> None:
        super().__init__()
        self.model = model
        self.model.visual.output_tokens = True
        weights = torch.ones(len(CONCEPTS) + 1)
        weights[-1] = 0.3
        self.register_buffer("weights", weights)

    def forward(
        self,
        pixels: Tensor,
        captions: tuple[Tensor, Tensor],
        targets: tuple[Tensor, Tensor],
        patches: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, top-1 of crops that show mostly one thing, top-1 of patches that show a thing."""
        mean, std = PREPROCESS["mean"][0], PREPROCESS["std"][0]
        with reduced_precision():
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
            functional.cross_entropy(logits, targets[0])
            + 0.25 * functional.cross_entropy(kind_logits, targets[1])
            + functional.cross_entropy(patch_logits, labels, self.weights, ignore_index=IGNORED)
        )
        clear = (targets[0].amax(dim=1) > 0.9) & (targets[0].argmax(dim=1) < len(CONCEPTS))
        right = (logits.argmax(dim=1) == targets[0].argmax(dim=1))[clear]
        shows = (labels != IGNORED) & (labels < len(CONCEPTS))
        patch_right = (patch_logits.argmax(dim=1) == labels)[shows]
        return loss, right.float().mean(), patch_right.float().mean()


def save(model: open_clip.CLIP, out: Path) -> None:
    """Write config, fp16 weights and tokenizer, as open_clip's `local-dir:` wants them."""
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


def train(
    *,
    steps: int,
    batch_size: int,
    peak_rate: float,
    seed: int,
    run: Path,
    tower: Path | None,
    encoder: Path | None,
) -> open_clip.CLIP:
    """Train for `steps` steps, resuming from `run`; the result is the exponential average."""
    torch.manual_seed(seed)
    model = build()
    if tower is not None:
        adopt_tower(model.visual, tower)
    if encoder is not None:
        adopt_encoder(model, encoder)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.996), use_buffers=True)
    for transformer in (model.visual.transformer, model.transformer):
        attend_by_products(transformer)
    objective = Objective(model)
    optimizer = Optimizer(model, rate=peak_rate, steps=steps)
    checkpoint = run / "checkpoint.pt"
    start = 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    run.mkdir(parents=True, exist_ok=True)
    loader = DataLoader(
        Crops(seed, batch_size, steps),
        batch_size=None,
        sampler=range(start, steps),
        num_workers=1,
        prefetch_factor=4,
    )
    log = (run / "log.jsonl").open("a")
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[shown]}"))
    losses: list[float] = []
    hits: list[tuple[float, float]] = []
    with Progress(*columns) as progress, log:
        task = progress.add_task("clip", total=steps, completed=start, shown="")
        for step, (pixels, concepts, kinds, patches) in enumerate(loader, start):
            rng = np.random.default_rng((seed, 7, step))
            first, second = bank(rng)
            loss, right, patch_right = objective(
                pixels, (tokenized(first), tokenized(second)), (concepts, kinds), patches
            )
            loss.backward()
            optimizer.step()
            average.update_parameters(model)
            losses.append(loss.item())
            hits.append((right.item(), patch_right.item()))
            progress.update(task, advance=1, shown=f"loss {losses[-1]:.2f}")
            if (step + 1) % 50 == 0:
                top1, patch_top1 = np.nanmean(hits, axis=0)
                row = {
                    "step": step + 1,
                    "loss": round(float(np.mean(losses)), 4),
                    "top1": round(float(top1), 4),
                    "patch_top1": round(float(patch_top1), 4),
                    "scale": round(model.logit_scale.exp().item(), 2),
                }
                log.write(json.dumps(row) + "\n")
                log.flush()
                losses, hits = [], []
            if (step + 1) % 500 == 0 or step + 1 == steps:
                state = {
                    "model": model.state_dict(),
                    "average": average.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "step": step + 1,
                }
                torch.save(state, run / "checkpoint.tmp")
                shutil.move(run / "checkpoint.tmp", checkpoint)
    averaged: open_clip.CLIP = average.module
    return averaged.eval()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--peak-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, default=Path("runs/clip"))
    parser.add_argument("--threads", type=int, default=1)
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--tower", type=Path, help="begin from a checkpoint of training.llava")
    begin.add_argument("--encoder", type=Path, help="go on from a folder written by this command")
    parser.add_argument("--out", type=Path, default=Path("guardalign_middleware/mini/clip"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)  # gradients of what is learned already are tiny, and slow
    model = train(
        steps=options.steps,
        batch_size=options.batch_size,
        peak_rate=options.peak_rate,
        seed=options.seed,
        run=options.run,
        tower=options.tower,
        encoder=options.encoder,
    )
    save(model, options.out)


if __name__ == "__main__":
    main()
