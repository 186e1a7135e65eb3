"""Tiny random models with rotary positions in three dimensions: time, height, width."""

from __future__ import annotations

from typing import Any

import transformers as T
from transformers import PreTrainedTokenizerFast

from tests.support.tiny.models import make_tokenizer, text_config, token_id
from tests.support.tiny.parts import Built, template

QWEN3_5_LAYERS: dict[str, Any] = {
    "num_hidden_layers": 6,
    "head_dim": 16,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "layer_types": ["linear_attention", "full_attention", "full_attention"] * 2,
}
"""The layers of Qwen3.5's decoder: linear attention in between."""


def qwen_tokens() -> tuple[PreTrainedTokenizerFast, dict[str, Any], str]:
    """The tokenizer, the ids and the chat template of Qwen-VL."""
    tokenizer = make_tokenizer(
        "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"
    )
    ids = {
        "image_token_id": token_id(tokenizer, "<|image_pad|>"),
        "video_token_id": token_id(tokenizer, "<|video_pad|>"),
        "vision_start_token_id": token_id(tokenizer, "<|vision_start|>"),
        "vision_end_token_id": token_id(tokenizer, "<|vision_end|>"),
    }
    return tokenizer, ids, template("<|vision_start|><|image_pad|><|vision_end|>")


def mrope(**more: Any) -> dict[str, Any]:
    """Rotary positions in three dimensions."""
    return {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_section": [1, 1, 2],
        **more,
    }


def qwen2_5_vl() -> Built:
    """Qwen2.5-VL: a tower with windowed attention, rotary positions in three dimensions."""
    tokenizer, ids, chat = qwen_tokens()
    processor = T.Qwen2_5_VLProcessor(  # type: ignore[no-untyped-call]
        T.Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=56 * 56),
        tokenizer,
        T.Qwen2VLVideoProcessor(),
        chat_template=chat,
    )
    config = T.Qwen2_5_VLConfig(
        text_config=text_config(
            T.Qwen2_5_VLTextConfig, tokenizer, rope_parameters=mrope()
        ).to_dict(),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "num_heads": 4,
            "intermediate_size": 48,
            "patch_size": 14,
            "out_hidden_size": 32,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        **ids,
    )
    return T.Qwen2_5_VLForConditionalGeneration(config), processor


def qwen3_vision(**more: Any) -> dict[str, Any]:
    """The config of Qwen3-VL's tower."""
    return {
        "depth": 2,
        "hidden_size": 32,
        "num_heads": 4,
        "intermediate_size": 48,
        "patch_size": 16,
        "out_hidden_size": 32,
        "num_position_embeddings": 16,
        **more,
    }


def qwen3_processor(tokenizer: PreTrainedTokenizerFast, chat: str) -> Any:
    """Qwen3-VL's processor."""
    return T.Qwen3VLProcessor(  # type: ignore[no-untyped-call]
        T.Qwen2VLImageProcessor(patch_size=16, min_pixels=64 * 64, max_pixels=64 * 64),
        tokenizer,
        T.Qwen3VLVideoProcessor(),
        chat_template=chat,
    )


def qwen3_vl() -> Built:
    """Qwen3-VL: image features added to several decoder layers."""
    tokenizer, ids, chat = qwen_tokens()
    config = T.Qwen3VLConfig(
        text_config=text_config(
            T.Qwen3VLTextConfig,
            tokenizer,
            head_dim=8,
            rope_parameters=mrope(mrope_interleaved=True),
        ).to_dict(),
        vision_config=qwen3_vision(deepstack_visual_indexes=[0, 1]),
        **ids,
    )
    return T.Qwen3VLForConditionalGeneration(config), qwen3_processor(tokenizer, chat)


def qwen3_5() -> Built:
    """Qwen3.5: linear attention in between; only the layers of full attention are calibrated."""
    tokenizer, ids, chat = qwen_tokens()
    config = T.Qwen3_5Config(
        text_config=text_config(
            T.Qwen3_5TextConfig,
            tokenizer,
            **QWEN3_5_LAYERS,
            rope_parameters=mrope(mrope_interleaved=True, partial_rotary_factor=0.5),
        ).to_dict(),
        vision_config=qwen3_vision(),
        **ids,
    )
    return T.Qwen3_5ForConditionalGeneration(config), qwen3_processor(tokenizer, chat)


def glm4v_parts() -> tuple[PreTrainedTokenizerFast, Any, dict[str, Any], dict[str, Any]]:
    """The tokenizer, the processor, the tower's config and the ids of GLM-4.1V."""
    names = ["<|image|>", "<|video|>", "<|begin_of_image|>", "<|end_of_image|>"]
    tokenizer = make_tokenizer(*names, "<|begin_of_video|>", "<|end_of_video|>")
    processor = T.Glm4vProcessor(  # type: ignore[no-untyped-call]
        T.Glm4vImageProcessor(size={"shortest_edge": 56 * 56, "longest_edge": 56 * 56}),
        tokenizer,
        T.Glm4vVideoProcessor(),
        chat_template=template("<|begin_of_image|><|image|><|end_of_image|>"),
    )
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "num_heads": 4,
        "intermediate_size": 48,
        "patch_size": 14,
        "image_size": 56,
        "out_hidden_size": 32,
    }
    ids = {
        "image_token_id": token_id(tokenizer, "<|image|>"),
        "video_token_id": token_id(tokenizer, "<|video|>"),
        "image_start_token_id": token_id(tokenizer, "<|begin_of_image|>"),
        "image_end_token_id": token_id(tokenizer, "<|end_of_image|>"),
        "video_start_token_id": token_id(tokenizer, "<|begin_of_video|>"),
        "video_end_token_id": token_id(tokenizer, "<|end_of_video|>"),
    }
    return tokenizer, processor, vision, ids


def glm4v() -> Built:
    """GLM-4.1V: rotary positions in three dimensions over half of each head."""
    tokenizer, processor, vision, ids = glm4v_parts()
    config = T.Glm4vConfig(
        text_config=text_config(
            T.Glm4vTextConfig,
            tokenizer,
            num_attention_heads=2,
            num_key_value_heads=1,
            rope_parameters=mrope(partial_rotary_factor=0.5),
        ).to_dict(),
        vision_config=vision,
        **ids,
    )
    return T.Glm4vForConditionalGeneration(config), processor
