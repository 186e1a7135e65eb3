"""Decoders run through `benchmarks.generation.dense_attention`, an independent implementation."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from benchmarks.generation.dense_attention import dense_weights, weighted_values

_STATE: dict[str, Any] = {}


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
    weights = dense_weights(
        query,
        key,
        mask if mask.dtype == torch.bool else mask == 0,
        scaling=kwargs["scaling"],
        where=where,
        gamma=_STATE["gamma"],
        mode=_STATE["mode"],
        softcap=kwargs.get("softcap"),
    )
    if "weights" in _STATE:
        _STATE["weights"].append(weights)
    return weighted_values(weights, value).to(query.dtype).contiguous(), None


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
    """Mean attention of the rows to the columns: `[B, layers]`, NaN where there are none."""
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
