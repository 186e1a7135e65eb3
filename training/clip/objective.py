"""The loss of the miniature encoder.

The cross-entropy of crops over the captions of all concepts: like in-batch InfoNCE, but without the
false negatives that a world of 208 concepts would cause.
"""

from __future__ import annotations

import math

import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional

from guardalign_middleware.mini.world import CONCEPTS, UNSAFE_CATEGORIES
from training.clip.captions import KINDS
from training.clip.data import IGNORED, OTHER
from training.precision import reduced_precision

MEAN, DEVIATION = 0.5, 0.25
"""Of the encoder's input, for all channels."""
SCENE_SHARE = 0.5
_MAX_SCALE = 40.0


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
        with reduced_precision(pixels.device):
            pooled, tokens = self.model.visual((pixels.float() / 255.0 - MEAN) / DEVIATION)
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
