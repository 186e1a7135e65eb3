"""bfloat16 where the processor computes with it; elsewhere it is a hundred times slower."""

from __future__ import annotations

import torch

FAST_BFLOAT16: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()


def reduced_precision() -> torch.autocast:
    """For the forward pass: bfloat16 products, or float32 ones where those are faster."""
    return torch.autocast("cpu", torch.bfloat16, enabled=FAST_BFLOAT16)
