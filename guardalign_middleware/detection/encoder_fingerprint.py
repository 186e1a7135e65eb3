"""The fingerprint of an encoder: what its distances depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import open_clip
import torch

from guardalign_middleware.config import EncoderConfig
from guardalign_middleware.detection.quantized import RECIPE


def fingerprint(
    model: torch.nn.Module, tokenizer: Any, config: EncoderConfig, settings: Mapping[str, Any]
) -> str:
    """Digest of weights, preprocessing, vocabulary, templates and precision.

    Args:
        model: the encoder.
        tokenizer: its tokenizer.
        config: templates and precision.
        settings: open_clip's settings of the towers.
    """
    digest = hashlib.sha256()
    record = {
        "preprocess": open_clip.get_model_preprocess_cfg(model),
        "model_cfg": settings,
        "templates": config.templates,
        "precision": config.precision,
    }
    if config.precision == "int8":
        record["quantization"] = RECIPE
    digest.update(json.dumps(record, sort_keys=True).encode())
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is not None:
        digest.update(json.dumps(inner.get_vocab(), sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
