"""Parts that tiny families in several files share."""

from __future__ import annotations

from typing import Any

import transformers as T

from tests.support.tiny.models import LLAVA_TEMPLATE

Built = tuple[Any, Any]
"""A model with random weights and its processor."""

SIDE = {"height": 28, "width": 28}


def template(image: str) -> str:
    """The chat template of the tiny models, with a family's own image placeholder."""
    return LLAVA_TEMPLATE.replace("IMAGE", image)


def clip(**more: Any) -> T.CLIPVisionConfig:
    """The config of a CLIP tower with 4 patches."""
    return T.CLIPVisionConfig(
        **{
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "image_size": 28,
            "patch_size": 14,
            "initializer_range": 0.3,
            **more,
        }
    )


def siglip(**more: Any) -> T.SiglipVisionConfig:
    """The config of a SigLIP tower, with 4 patches by default."""
    return T.SiglipVisionConfig(
        **{
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 28,
            "patch_size": 14,
            **more,
        }
    )
