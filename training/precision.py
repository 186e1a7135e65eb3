"""bfloat16 where the processor supports it; elsewhere it is a hundred times slower."""

from __future__ import annotations

import torch


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 products are fast: on every GPU and on some CPUs."""
    return device.type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def reduced_precision(device: torch.device) -> torch.autocast:
    """Autocast for the forward pass: bfloat16 where it is fast, else float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=fast_bfloat16(device))
