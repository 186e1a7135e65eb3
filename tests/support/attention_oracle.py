"""An independent implementation of paper eqs. 13 and 14: dense, uncached, in float64."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_STATE: dict[str, Any] = {}


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
    softcap: float | None = None,
) -> Tensor:
    """Calibrated attention `[B, Lq, H, D]`; `where`, bool `[B, Lq, Lk]`, marks the pairs."""
    groups = query.shape[1] // key.shape[1]
    q = query.double()
    k = key.double().repeat_interleave(groups, dim=1)
    v = value.double().repeat_interleave(groups, dim=1)
    dots = torch.einsum("bhid,bhjd->bhij", q, k)
    z = dots * scaling
    if softcap is not None:
        z = torch.tanh(z / softcap) * softcap
    if mode == "positive":
        amplified = torch.where(z > 0, (1 + gamma) * z, z)
    else:
        amplified = z + gamma * dots.clamp(min=0) * z
    z = torch.where(where[:, None], amplified, z).masked_fill(~allowed, float("-inf"))
    # Padding rows may attend to no key; like SDPA, give them zeros.
    weights = z.softmax(-1).nan_to_num(0.0)
    if "weights" in _STATE:
        _STATE["weights"].append(weights)
    return torch.einsum("bhij,bhjd->bihd", weights, v)


def _forward(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    if not hasattr(module, "layer_idx"):
        # A vision tower inside the decoder is not calibrated.
        return sdpa_attention_forward(module, query, key, value, mask, **kwargs)
    length = query.shape[2]
    if mask is None:
        mask = torch.ones(length, length, dtype=torch.bool).tril()[None, None]
    where = _STATE["where"]
    if module.layer_idx not in _STATE["layers"]:
        # Cross-attention layers have other keys.
        where = torch.zeros(len(query), length, key.shape[2], dtype=torch.bool)
    out = dense_attention(
        query,
        key,
        value,
        mask if mask.dtype == torch.bool else mask == 0,
        scaling=kwargs["scaling"],
        where=where,
        gamma=_STATE["gamma"],
        mode=_STATE["mode"],
        softcap=kwargs.get("softcap"),
    )
    return out.to(query.dtype).contiguous(), None


AttentionInterface.register("oracle_dense", _forward)
AttentionMaskInterface.register("oracle_dense", sdpa_mask)


@contextmanager
def oracle(
    model: Any,
    rows: Tensor,
    columns: Tensor,
    layers: Collection[int],
    *,
    gamma: float,
    mode: str,
) -> Iterator[None]:
    """Compute the decoder's attention with the oracle; `rows` and `columns` are bool `[B, L]`."""
    _STATE.update(
        where=rows[:, :, None] & columns[:, None, :], layers=layers, gamma=gamma, mode=mode
    )
    decoder = model.get_decoder()
    before = decoder.config._attn_implementation
    decoder.set_attn_implementation("oracle_dense")
    try:
        yield
    finally:
        decoder.set_attn_implementation(before)


def prefix_shares(
    model: Any,
    inputs: dict[str, Any],
    rows: Tensor,
    columns: Tensor,
    layers: Collection[int],
    *,
    gamma: float,
) -> Tensor:
    """Mean attention of the rows to the columns, `[B, layers]`; NaN for a sequence without rows."""
    seen: list[Tensor] = []
    with oracle(model, rows, columns, layers, gamma=gamma, mode="positive"):
        _STATE["weights"] = seen
        try:
            with torch.inference_mode():
                model(**inputs, use_cache=False)
        finally:
            del _STATE["weights"]
    shares = [
        (weights.mean(dim=1) * columns[:, None, :]).sum(-1).mul(rows).sum(-1) / rows.sum(-1)
        for weights in seen
    ]
    return torch.stack(shares, dim=1)
