"""The optimizer of every stage: Muon for the matrices inside the blocks, AdamW for the rest."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.optim import _muon

from training.precision import fast_bfloat16

_HIDDEN = re.compile(r"\.(layers|resblocks)\.")


def _orthogonal(
    matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """Muon's Newton-Schulz iteration, in the precision of `matrix` instead of bfloat16."""
    a, b, c = coefficients
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / wide.norm().clamp(min=eps)
    for _ in range(steps):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide


def _fast_products(device: torch.device) -> AbstractContextManager[object]:
    """Avoid the bfloat16 products of torch's Muon where they are slow."""
    if fast_bfloat16(device):
        return nullcontext()
    return patch.object(_muon, "_zeropower_via_newtonschulz", _orthogonal)


class Optimizer:
    """Muon and AdamW behind one `step`, both on a one-cycle schedule of `steps` steps."""

    def __init__(self, model: nn.Module, *, rate: float, steps: int) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        hidden = [p for name, p in named if p.ndim == 2 and _HIDDEN.search(name)]
        inside = {id(p) for p in hidden}
        rest = [p for _, p in named if id(p) not in inside]
        self.parameters = [p for _, p in named]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, lr=rate, weight_decay=0.01, betas=(0.9, 0.98))
        ]
        rates = [rate]
        if hidden:
            rates.append(8 * rate)
            self.parts.append(torch.optim.Muon(hidden, lr=rates[-1], weight_decay=0.01))
        self.schedules = [
            torch.optim.lr_scheduler.OneCycleLR(
                part, peak, total_steps=steps, pct_start=0.05, cycle_momentum=False
            )
            for part, peak in zip(self.parts, rates, strict=True)
        ]

    def step(self) -> None:
        """Clip, update, advance the schedules, clear the gradients."""
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        with _fast_products(self.parameters[0].device):
            for part in self.parts:
                part.step()
                part.zero_grad()
        for schedule in self.schedules:
            schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """The state to resume from."""
        return {
            "parts": [part.state_dict() for part in self.parts],
            "schedules": [schedule.state_dict() for schedule in self.schedules],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore such a state."""
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)
        for schedule, saved in zip(self.schedules, state["schedules"], strict=True):
            schedule.load_state_dict(saved)
