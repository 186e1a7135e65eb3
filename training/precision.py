"""bfloat16 where the processor computes with it; elsewhere it is a hundred times slower."""

from __future__ import annotations

import torch


def fast_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are the fast ones: on every GPU, and on some CPUs."""
    return device.type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def reduced_precision(device: torch.device) -> torch.autocast:
    """For the forward pass: bfloat16 products, or float32 ones where those are faster."""
    return torch.autocast(device.type, torch.bfloat16, enabled=fast_bfloat16(device))
