"""A vision tower that looks at each picture once."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

Remembered = dict[str, Tensor]


class RememberingTower(nn.Module):
    """Stands in for a frozen tower; one memory may serve models that share its weights.

    Only the last hidden states are kept: a model that reads another layer is refused by the index
    of what it gets.

    Args:
        tower: whose features these are.
        memory: from digests of weights and pictures to features `[patches + 1, width]`.
    """

    def __init__(self, tower: nn.Module, memory: Remembered) -> None:
        super().__init__()
        self.tower = tower
        self.config = tower.config
        self._memory = memory
        self._weights = hashlib.sha256()
        for value in tower.state_dict().values():
            self._weights.update(value.cpu().numpy().tobytes())

    def forward(self, pixel_values: Tensor, **options: Any) -> BaseModelOutputWithPooling:
        """The last hidden states of pictures `[B, 3, H, W]`, those known already from memory."""
        keys = [self._key(picture) for picture in pixel_values]
        new = {key: index for index, key in enumerate(keys) if key not in self._memory}
        if new:
            options["output_hidden_states"] = True
            out = self.tower(pixel_values[list(new.values())], **options)
            self._memory.update(zip(new, out.hidden_states[-1], strict=True))
        last = torch.stack([self._memory[key] for key in keys])
        return BaseModelOutputWithPooling(last_hidden_state=last, hidden_states=(last,))

    def _key(self, picture: Tensor) -> str:
        digest = self._weights.copy()
        digest.update(picture.contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()
