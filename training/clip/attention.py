"""Attention as three plain products, for training open_clip towers on a CPU.

In bfloat16 on a CPU they take a third of the time of the fused kernel, whose backward pass is slow.
The rows are short, so all scores fit in memory.
"""

from __future__ import annotations

from functools import partial

import torch
from open_clip.transformer import ResidualAttentionBlock, Transformer
from torch import Tensor
from torch.nn import functional


def attend_by_products(transformer: Transformer) -> None:
    """Replace the attention of each block, keeping its weights."""
    for block in transformer.resblocks:
        block.attention = partial(_attention, block)


def _attention(
    block: ResidualAttentionBlock,
    q_x: Tensor,
    k_x: Tensor | None = None,
    v_x: Tensor | None = None,
    attn_mask: Tensor | None = None,
) -> Tensor:
    """Self-attention of `[B, L, D]` under an additive mask `[L, L]`."""
    if k_x is not None or v_x is not None:
        raise ValueError("Only self-attention is supported. Received separate keys or values.")
    attn = block.attn
    batch, length, width = q_x.shape
    heads = attn.num_heads
    mixed = functional.linear(q_x, attn.in_proj_weight, attn.in_proj_bias)
    query, key, value = (
        part.reshape(batch * heads, length, width // heads)
        for part in mixed.view(batch, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
    )
    mask = query.new_zeros(()) if attn_mask is None else attn_mask.to(query.dtype)
    scores = torch.baddbmm(
        mask.expand(batch * heads, length, length),
        query,
        key.transpose(1, 2),
        alpha=(width // heads) ** -0.5,
    )
    read = (scores.softmax(-1) @ value).view(batch, heads, length, -1)
    joined: Tensor = attn.out_proj(read.transpose(1, 2).reshape(batch, length, width))
    return joined
