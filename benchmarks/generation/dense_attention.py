"""Calibrated attention by the paper's equations 13 and 14: dense, uncached, in float64.

It shares no code with the product: tests and `benchmarks.generation.kernels` compare with it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def dense_weights(
    query: Tensor,
    key: Tensor,
    allowed: Tensor,
    *,
    scaling: float,
    where: Tensor,
    gamma: float,
    mode: str,
    softcap: float | None = None,
) -> Tensor:
    """Attention weights `[B, H, Lq, Lk]`.

    Args:
        query: `[B, H, Lq, D]`.
        key: `[B, Hk, Lk, D]`; H is a multiple of Hk.
        allowed: bool, broadcast to `[B, H, Lq, Lk]`: whether a query may see a key.
        scaling: of the dot products.
        where: bool `[B, Lq, Lk]`: the calibrated pairs.
        gamma: strength of the calibration.
        mode: "positive" or "paper", as in `CalibrationConfig`.
        softcap: bound on the scores.
    """
    groups = query.shape[1] // key.shape[1]
    keys = key.double().repeat_interleave(groups, dim=1)
    dots = torch.einsum("bhid,bhjd->bhij", query.double(), keys)
    z = dots * scaling
    if softcap is not None:
        z = torch.tanh(z / softcap) * softcap
    if mode == "positive":
        amplified = torch.where(z > 0, (1 + gamma) * z, z)
    else:
        amplified = z + gamma * dots.clamp(min=0) * z
    z = torch.where(where[:, None], amplified, z).masked_fill(~allowed, float("-inf"))
    # A padding row may have no allowed key; like SDPA, give it zeros.
    return z.softmax(-1).nan_to_num(0.0)


def dense_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    allowed: Tensor,
    *,
    scaling: float,
    where: Tensor,
    gamma: float,
    mode: str,
) -> Tensor:
    """Calibrated attention `[B, Lq, H, D]` over `value`, `[B, Hk, Lk, D]`; see `dense_weights`."""
    weights = dense_weights(
        query, key, allowed, scaling=scaling, where=where, gamma=gamma, mode=mode
    )
    return weighted_values(weights, value)


def weighted_values(weights: Tensor, value: Tensor) -> Tensor:
    """Attention `[B, Lq, H, D]` from weights `[B, H, Lq, Lk]` and values `[B, Hk, Lk, D]`."""
    groups = weights.shape[1] // value.shape[1]
    values = value.double().repeat_interleave(groups, dim=1)
    return torch.einsum("bhij,bhjd->bihd", weights, values)
