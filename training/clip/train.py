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

import numpy as np
import open_clip
import torch
from rich.progress import Progress, TextColumn
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from training.clip.captions import CONTEXT_LENGTH, bank, tokenizer, vocabulary
from training.clip.data import SIDE, Crops

MODEL_CONFIG = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": SIDE, "layers": [1, 1, 1, 1], "width": 24, "patch_size": None},
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
PREPROCESS = {
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
        model.logit_scale.fill_(math.log(10.0))
    return model


def _tokens(captions: list[str]) -> Tensor:
    encoded = tokenizer()(
        captions, padding="max_length", max_length=CONTEXT_LENGTH, return_tensors="pt"
    )
    return encoded["input_ids"]


class Objective(nn.Module):
    """Soft cross-entropy of crops against the concept bank, and a lighter one against the kinds."""

    def __init__(self, model: open_clip.CLIP) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, pixels: Tensor, captions: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Loss, and top-1 accuracy among crops that show mostly one concept."""
        mean, std = PREPROCESS["mean"][0], PREPROCESS["std"][0]
        pixels = ((pixels.float() / 255.0 - mean) / std).contiguous(
            memory_format=torch.channels_last
        )
        with torch.autocast("cpu", torch.bfloat16):
            images = self.model.encode_image(pixels)
        images = functional.normalize(images.float(), dim=-1)
        concepts, kinds = captions
        texts = functional.normalize(self.model.encode_text(torch.cat([concepts, kinds])), dim=-1)
        scale = self.model.logit_scale.exp().clamp(max=_MAX_SCALE)
        concept_texts = texts[: len(concepts)]
        nothing = concept_texts[-1:]
        logits = scale * images @ concept_texts.T
        kind_logits = scale * images @ torch.cat([texts[len(concepts) :], nothing]).T
        loss = functional.cross_entropy(logits, targets[0])
        loss = loss + 0.25 * functional.cross_entropy(kind_logits, targets[1])
        clear = targets[0].amax(dim=1) > 0.9
        right = (logits.argmax(dim=1) == targets[0].argmax(dim=1))[clear]
        return loss, right.float().mean()


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


def train(*, steps: int, batch_size: int, peak_rate: float, seed: int, run: Path) -> open_clip.CLIP:
    """Train for `steps` steps, resuming from `run`; the result is the exponential average."""
    torch.manual_seed(seed)
    model = build().to(memory_format=torch.channels_last)
    objective = Objective(model)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.998), use_buffers=True)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    other = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": other, "weight_decay": 0.0}],
        lr=peak_rate,
        betas=(0.9, 0.98),
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, peak_rate, total_steps=steps, pct_start=0.08, cycle_momentum=False
    )
    checkpoint = run / "checkpoint.pt"
    start = 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
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
    hits: list[float] = []
    with Progress(*columns) as progress, log:
        task = progress.add_task("clip", total=steps, completed=start, shown="")
        for step, (pixels, concepts, kinds) in enumerate(loader, start):
            rng = np.random.default_rng((seed, 7, step))
            first, second = bank(rng)
            loss, right = objective(pixels, (_tokens(first), _tokens(second)), (concepts, kinds))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            losses.append(float(loss))
            hits.append(float(right))
            progress.update(task, advance=1, shown=f"loss {losses[-1]:.2f}")
            if (step + 1) % 50 == 0:
                row = {
                    "step": step + 1,
                    "loss": round(float(np.mean(losses)), 4),
                    "top1": round(float(np.nanmean(hits)), 4),
                    "scale": round(float(model.logit_scale.exp()), 2),
                }
                log.write(json.dumps(row) + "\n")
                log.flush()
                losses, hits = [], []
            if (step + 1) % 500 == 0 or step + 1 == steps:
                state = {
                    "model": model.state_dict(),
                    "average": average.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                    "step": step + 1,
                }
                torch.save(state, run / "checkpoint.tmp")
                shutil.move(run / "checkpoint.tmp", checkpoint)
    averaged: open_clip.CLIP = average.module
    return averaged.eval()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5500)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--peak-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, default=Path("runs/clip"))
    parser.add_argument("--out", type=Path, default=Path("guardalign_middleware/mini/clip"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = train(
        steps=options.steps,
        batch_size=options.batch_size,
        peak_rate=options.peak_rate,
        seed=options.seed,
        run=options.run,
    )
    save(model, options.out)


if __name__ == "__main__":
    main()
