"""Ways to cut a picture into patches, and the embeddings of all of them.

Each crop goes through the whole tower by itself. Dense patches are the tower's own tokens, many of
them from one forward pass: either the output tokens of the last block ("plain"), or those of a last
block whose attention is replaced by its values ("value", MaskCLIP, arXiv 2112.01071), which keeps
them local.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip.transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional

from guardalign_middleware.config import PatchConfig
from guardalign_middleware.detection import OpenClipEncoder
from guardalign_middleware.detection.patches import crop_patches, patch_boxes
from guardalign_middleware.types import CanonicalImage

COMPARED = "56+112+192 px"
"""The crops on which readings are compared: of the picture's own pixels, at fixed sizes."""
WHOLE = "whole image"
_PARTS = {
    "3 × 3": PatchConfig(sizes=(1 / 3,), unit="short_side", overlap=0.0),
    "5 × 5": PatchConfig(sizes=(1 / 5,), unit="short_side", overlap=0.0),
    "7 × 7": PatchConfig(sizes=(1 / 7,), unit="short_side", overlap=0.0),
    "56 px, no overlap": PatchConfig(sizes=(56,), unit="pixels", overlap=0.0),
    "56 px": PatchConfig(sizes=(56,), unit="pixels", overlap=0.5),
    "112 px": PatchConfig(sizes=(112,), unit="pixels", overlap=0.5),
    "192 px": PatchConfig(sizes=(192,), unit="pixels", overlap=0.5),
}
_MERGED = {COMPARED: ("192 px", "112 px", "56 px")}
_DENSE = "112 px"
CROP_LAYOUTS = (*_PARTS, *_MERGED)


@dataclass(frozen=True, eq=False)
class Patches:
    """The patches of one picture in one layout.

    Attributes:
        boxes: int64 `[M, 4]` in pixels; of equal width within a scale.
        embeddings: float32 unit rows `[M, D]`.
        forwards: number of pictures encoded to make them.
    """

    boxes: NDArray[np.int64]
    embeddings: Tensor
    forwards: int


@dataclass(frozen=True, eq=False)
class TowerOutput:
    """Unit rows of one forward pass: `pooled` `[B, D]`, `plain` and `value` tokens `[B, T, D]`."""

    pooled: Tensor
    plain: Tensor
    value: Tensor


def tower_output(encoder: OpenClipEncoder, pixels: Tensor) -> TowerOutput:
    """Pooled embeddings and both kinds of dense tokens of crops `[B, 3, S, S]` in [0, 1].

    Raises:
        TypeError: the encoder is not a plain vision transformer with a class token.
    """
    tower: Any = encoder.visual
    if not isinstance(tower, VisionTransformer) or tower.pool_type != "tok":
        raise TypeError("Dense tokens are measured for open_clip's VisionTransformer only.")
    with torch.inference_mode():
        hidden = tower._embeds(encoder.normalised(pixels))
        for block in tower.transformer.resblocks[:-1]:
            hidden = block(hidden)
        last = tower.transformer.resblocks[-1]
        plain = _projected(tower, last(hidden))
        width = hidden.shape[-1]
        weight, bias = last.attn.in_proj_weight[-width:], last.attn.in_proj_bias[-width:]
        values = last.attn.out_proj(functional.linear(last.ln_1(hidden), weight, bias))
        local = hidden + last.ls_1(values)
        value = _projected(tower, local + last.ls_2(last.mlp(last.ln_2(local))))
    return TowerOutput(plain[:, 0], plain[:, 1:], value[:, 1:])


def _projected(tower: Any, hidden: Tensor) -> Tensor:
    return functional.normalize((tower.ln_post(hidden) @ tower.proj).float(), dim=-1)


def encode_layouts(encoder: OpenClipEncoder, image: CanonicalImage) -> Mapping[str, Patches]:
    """Every layout of a picture; each crop is encoded once."""
    whole, shape = _squashed(image, encoder.image_size), (image.width, image.height)
    output = tower_output(encoder, whole)
    everything = np.array([[0, 0, *shape]])
    layouts = {WHOLE: Patches(everything, output.pooled, 1)}
    layouts |= _dense(WHOLE, output, everything)
    for name, config in _PARTS.items():
        boxes = patch_boxes(*shape, config, encoder.image_size)
        output = tower_output(encoder, crop_patches(image, boxes, encoder.image_size))
        layouts[name] = Patches(boxes, output.pooled, len(boxes))
        if name == _DENSE:
            layouts |= _dense(f"{name} windows", output, boxes)
    for name, members in _MERGED.items():
        parts = [layouts[member] for member in members]
        layouts[name] = Patches(
            np.concatenate([part.boxes for part in parts]),
            torch.cat([part.embeddings for part in parts]),
            sum(part.forwards for part in parts),
        )
    return layouts


def _squashed(image: CanonicalImage, side: int) -> Tensor:
    resized = image.to_pil().resize((side, side), resample=3)
    return torch.from_numpy(np.asarray(resized).copy()).permute(2, 0, 1)[None] / 255.0


def _dense(name: str, output: TowerOutput, boxes: NDArray[np.int64]) -> dict[str, Patches]:
    cells = token_boxes(boxes, output.plain.shape[1])
    return {
        f"dense {kind}, {name}": Patches(cells, tokens.flatten(0, 1), len(boxes))
        for kind, tokens in (("plain", output.plain), ("value", output.value))
    }


def token_boxes(boxes: NDArray[np.int64], tokens: int) -> NDArray[np.int64]:
    """The boxes of each box's tokens, row by row: int64 `[B * T, 4]`, all of one size."""
    side = round(tokens**0.5)
    if side * side != tokens:
        raise ValueError(f"tokens should be a square number. Received {tokens}.")
    cells = []
    for x0, y0, x1, y1 in boxes.tolist():
        width, height = (x1 - x0) // side, (y1 - y0) // side
        for row in range(side):
            for column in range(side):
                left, top = x0 + column * (x1 - x0) // side, y0 + row * (y1 - y0) // side
                cells.append((left, top, left + width, top + height))
    return np.array(cells, dtype=np.int64)
