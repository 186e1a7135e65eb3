"""A vision tower that caches its features."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

Features = dict[str, Tensor]
"""Features `[patches + 1, width]` by digest of weights and picture."""


class CachingTower(nn.Module):
    """Replaces a frozen tower; models that share its weights can share the cache.

    Only the last hidden states are kept: reading another layer raises an IndexError.

    Args:
        tower: the frozen tower.
        cache: its features so far.
    """

    def __init__(self, tower: nn.Module, cache: Features) -> None:
        super().__init__()
        self.tower = tower
        self.config = tower.config
        self._cache = cache
        self._weights = hashlib.sha256()
        for value in tower.state_dict().values():
            self._weights.update(value.cpu().numpy().tobytes())

    def forward(self, pixel_values: Tensor, **options: Any) -> BaseModelOutputWithPooling:
        """The last hidden states of pictures `[B, 3, H, W]`; known pictures come from the cache."""
        keys = [self._key(picture) for picture in pixel_values]
        new = {key: index for index, key in enumerate(keys) if key not in self._cache}
        if new:
            options["output_hidden_states"] = True
            out = self.tower(pixel_values[list(new.values())], **options)
            self._cache.update(zip(new, out.hidden_states[-1], strict=True))
        last = torch.stack([self._cache[key] for key in keys])
        return BaseModelOutputWithPooling(last_hidden_state=last, hidden_states=(last,))

    def _key(self, picture: Tensor) -> str:
        digest = self._weights.copy()
        digest.update(picture.contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()
