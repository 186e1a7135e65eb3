"""Least time of a request and of a scan on a GPU, from operations and bytes.

A step takes the longer of its arithmetic and its memory traffic, at the full rate of either
(Williams et al., 2009). Nothing reaches that, but a guard and the model it guards miss it alike, so
the figures are for ratios.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import open_clip
import torch
from torch.utils.flop_counter import FlopCounterMode

_BYTES = 2  # of a number in bfloat16


@dataclass(frozen=True)
class Machine:
    """An accelerator.

    Attributes:
        flops: operations per second in bfloat16; a multiply-add is two.
        bandwidth: bytes per second between memory and processor.
    """

    flops: float
    bandwidth: float

    def seconds(self, flops: float, moved: float) -> float:
        """Least time of a step with so many operations and bytes."""
        return max(flops / self.flops, moved / self.bandwidth)


H200 = Machine(flops=790e12, bandwidth=4.3e12)
"""What one H200 sustains in large matrix products and copies."""


@dataclass(frozen=True)
class Decoder:
    """The language model of a family, without its input embeddings.

    Attributes:
        layers: decoder layers with self-attention.
        width: of the hidden states.
        heads: query heads.
        key_value_heads: key and value heads.
        head_width: of a head.
        hidden: width of the gated feed-forward part.
        vocabulary: rows of the output matrix.
        cross_layers: further layers that attend to image tokens instead of to the prompt.
    """

    layers: int
    width: int
    heads: int
    key_value_heads: int
    head_width: int
    hidden: int
    vocabulary: int
    cross_layers: int = 0

    @property
    def weights(self) -> int:
        """Numbers that are read to decode a token."""
        return (self.layers + self.cross_layers) * self._layer + self.vocabulary * self.width

    @property
    def _key_value(self) -> int:
        return 2 * self.width * self.key_value_heads * self.head_width

    @property
    def _layer(self) -> int:
        across = self.heads * self.head_width
        return self._key_value + 2 * self.width * across + 3 * self.width * self.hidden

    def prefill_flops(self, prompt: int, image_tokens: int) -> float:
        """Operations of reading a prompt; the output matrix is applied to its last token.

        Args:
            prompt: tokens of the prompt; those of a picture count unless there are cross layers.
            image_tokens: those that the cross layers attend to.
        """
        attended = 2 * self.heads * self.head_width  # scores and mixing, a multiply-add each
        causal = self.layers * (2 * self._layer * prompt + attended * prompt * prompt)
        crossed = self.cross_layers * (
            2 * (self._layer - self._key_value) * prompt
            + 2 * self._key_value * image_tokens
            + 2 * attended * prompt * image_tokens
        )
        return causal + crossed + 2 * self.vocabulary * self.width

    def request_seconds(
        self,
        image_tokens: int,
        *,
        text: int = 64,
        answer: int = 128,
        together: int = 1,
        machine: Machine = H200,
    ) -> float:
        """Least time of a request: prefill, then one token after the other.

        The image tower is left out, which makes any share of a request larger.

        Args:
            image_tokens: tokens of the picture.
            text: tokens of prefix and question.
            answer: tokens of the answer.
            together: requests that are decoded together, and read the weights once.
            machine: what it runs on.
        """
        prompt = text if self.cross_layers else text + image_tokens
        weights = _BYTES * self.weights
        per_token = 2 * _BYTES * self.key_value_heads * self.head_width
        crossed = self.cross_layers * image_tokens
        total = machine.seconds(self.prefill_flops(prompt, image_tokens), weights)
        for made in range(answer):
            cached = per_token * (self.layers * (prompt + made) + crossed)
            total += machine.seconds(2 * self.weights, weights / together + cached)
        return total


@dataclass(frozen=True)
class Tower:
    """The image tower of an encoder.

    Attributes:
        side: of its input, in pixels.
        flops: operations for one crop.
        weights: parameters.
    """

    side: int
    flops: float
    weights: int

    def scan_seconds(self, crops: int, machine: Machine = H200) -> float:
        """Least time to encode so many crops in one batch."""
        return machine.seconds(crops * self.flops, _BYTES * self.weights)

    @classmethod
    def vit(
        cls, side: int, patch: int, width: int, layers: int, *, hidden: int = 0, extra: int = 1
    ) -> Self:
        """A vision transformer; layer norms, biases and the head are left out: below 2%.

        Args:
            side: of the input, in pixels.
            patch: side of a token, in pixels.
            width: of the hidden states.
            layers: of the tower.
            hidden: width of the feed-forward part; 0 = four times the width.
            extra: tokens besides those of the picture.
        """
        hidden = hidden or 4 * width
        seen = (side // patch) ** 2
        tokens = seen + extra
        layer = 4 * width * width + 2 * width * hidden
        inside = layers * (2 * layer * tokens + 4 * tokens * tokens * width)
        entry = 3 * patch * patch * width
        return cls(side, float(inside + 2 * entry * seen), layers * layer + entry)


def counted(architecture: str) -> Tower:
    """Count the operations of an open_clip image tower, built without memory for its weights."""
    model = open_clip.create_model(architecture, pretrained=None, device="meta")
    side = int(open_clip.get_model_config(architecture)["vision_cfg"]["image_size"])
    counter = FlopCounterMode(display=False)
    model.eval().requires_grad_(False)
    with counter, torch.no_grad():
        model.encode_image(torch.empty(1, 3, side, side, device="meta"))
    weights = sum(parameter.numel() for parameter in model.visual.parameters())
    return Tower(side, float(counter.get_total_flops()), weights)


# As `counted` finds them: a convolutional tower has no short formula.
_FASTVIT_MCI1 = Tower(256, flops=9_335_472_128, weights=21_541_632)
_FASTVIT_MCI2 = Tower(256, flops=15_692_779_520, weights=35_815_232)
TOWERS = {
    "ViT-B-32-quickgelu": Tower.vit(224, 32, 768, 12),
    "ViT-B-16": Tower.vit(224, 16, 768, 12),
    "ViT-L-14-quickgelu": Tower.vit(224, 14, 1024, 24),
    "ViT-L-14-336-quickgelu": Tower.vit(336, 14, 1024, 24),
    "ViT-B-16-SigLIP2": Tower.vit(224, 16, 768, 12, extra=0),
    "ViT-SO400M-16-SigLIP2-256": Tower.vit(256, 16, 1152, 27, hidden=4304, extra=0),
    "ViT-SO400M-14-SigLIP-384": Tower.vit(384, 14, 1152, 27, hidden=4304, extra=0),
    "MobileCLIP-S1": _FASTVIT_MCI1,
    "MobileCLIP-S2": _FASTVIT_MCI2,
    "MobileCLIP2-S2": _FASTVIT_MCI2,
}
"""By the name of open_clip's configuration."""
