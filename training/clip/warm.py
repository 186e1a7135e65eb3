"""Warm starts of the encoder: from the miniature LLaVA's tower, or from an earlier encoder."""

from __future__ import annotations

from pathlib import Path

import open_clip
import torch
from open_clip.transformer import VisionTransformer
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional


def _resized_positions(positions: Tensor, grid: int) -> Tensor:
    """Keep the class position, and interpolate the patch positions `[g * g, width]` to a grid."""
    first, rest = positions[:1], positions[1:]
    side = round(len(rest) ** 0.5)
    plane = rest.T.reshape(1, -1, side, side)
    plane = functional.interpolate(plane, (grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([first, plane.reshape(plane.shape[1], -1).T])


def adopt_encoder(model: open_clip.CLIP, folder: Path) -> None:
    """Load weights saved by `training.clip`; the vocabulary must be the same."""
    model.load_state_dict(load_file(folder / "open_clip_model.safetensors"))


def adopt_tower(visual: VisionTransformer, checkpoint: Path) -> None:
    """Copy a `training.llava` vision checkpoint into an open_clip `VisionTransformer`.

    Widths and depth must match; patch kernels and positions are resized. A thing spans the same
    number of patches in both, so the resized kernels detect the same strokes.
    """
    saved = torch.load(checkpoint, weights_only=True)["model"]
    tower = {
        name.removeprefix("tower.").removeprefix("vision_model."): value
        for name, value in saved.items()
        if name.startswith("tower.")
    }
    kernel = tower["embeddings.patch_embedding.weight"]
    patch = visual.conv1.weight.shape[-1]
    scale = (kernel.shape[-1] / patch) ** 2  # keeps the response to a flat area
    state = {
        "class_embedding": tower["embeddings.class_embedding"],
        "conv1.weight": scale
        * functional.interpolate(kernel, (patch, patch), mode="bilinear", antialias=True),
        "positional_embedding": _resized_positions(
            tower["embeddings.position_embedding.weight"], visual.grid_size[0]
        ),
    }
    for kind in ("weight", "bias"):
        state[f"ln_pre.{kind}"] = tower[f"pre_layrnorm.{kind}"]
        state[f"ln_post.{kind}"] = saved[f"norm.{kind}"]  # the norm learned with the patch reader
    pairs = {
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "attn.out_proj": "self_attn.out_proj",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
    }
    for index in range(len(visual.transformer.resblocks)):
        here, there = f"transformer.resblocks.{index}.", f"encoder.layers.{index}."
        for kind in ("weight", "bias"):
            for part, other in pairs.items():
                state[f"{here}{part}.{kind}"] = tower[f"{there}{other}.{kind}"]
            state[f"{here}attn.in_proj_{kind}"] = torch.cat(
                [tower[f"{there}self_attn.{name}_proj.{kind}"] for name in "qkv"]
            )
    state["proj"] = visual.proj.detach()
    visual.load_state_dict(state)
