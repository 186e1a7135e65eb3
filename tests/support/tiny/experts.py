"""Tiny random models of families whose decoders route tokens to experts."""

from __future__ import annotations

import transformers as T

from tests.support.tiny.models import make_tokenizer, text_config, token_id
from tests.support.tiny.parts import Built, template
from tests.support.tiny.rotary import (
    QWEN3_5_LAYERS,
    glm4v_parts,
    mrope,
    qwen3_processor,
    qwen3_vision,
    qwen_tokens,
)


def qwen3_vl_moe() -> Built:
    """Qwen3-VL with experts."""
    tokenizer, ids, chat = qwen_tokens()
    config = T.Qwen3VLMoeConfig(
        text_config=text_config(
            T.Qwen3VLMoeTextConfig,
            tokenizer,
            head_dim=8,
            moe_intermediate_size=16,
            num_experts=4,
            num_experts_per_tok=2,
            rope_parameters=mrope(mrope_interleaved=True),
        ).to_dict(),
        vision_config=qwen3_vision(deepstack_visual_indexes=[0, 1]),
        **ids,
    )
    return T.Qwen3VLMoeForConditionalGeneration(config), qwen3_processor(tokenizer, chat)


def qwen3_5_moe() -> Built:
    """Qwen3.5 with experts: only the layers of full attention are calibrated."""
    tokenizer, ids, chat = qwen_tokens()
    config = T.Qwen3_5MoeConfig(
        text_config=text_config(
            T.Qwen3_5MoeTextConfig,
            tokenizer,
            **QWEN3_5_LAYERS,
            moe_intermediate_size=16,
            shared_expert_intermediate_size=16,
            num_experts=4,
            num_experts_per_tok=2,
            rope_parameters=mrope(mrope_interleaved=True, partial_rotary_factor=0.5),
        ).to_dict(),
        vision_config=qwen3_vision(),
        **ids,
    )
    return T.Qwen3_5MoeForConditionalGeneration(config), qwen3_processor(tokenizer, chat)


def glm4v_moe() -> Built:
    """GLM-4.5V: GLM-4.1V with experts."""
    tokenizer, processor, vision, ids = glm4v_parts()
    config = T.Glm4vMoeConfig(
        text_config=text_config(
            T.Glm4vMoeTextConfig,
            tokenizer,
            num_attention_heads=2,
            num_key_value_heads=1,
            moe_intermediate_size=16,
            n_routed_experts=4,
            num_experts_per_tok=2,
            n_shared_experts=1,
            first_k_dense_replace=1,
            rope_parameters=mrope(partial_rotary_factor=0.5),
        ).to_dict(),
        vision_config=vision,
        **ids,
    )
    return T.Glm4vMoeForConditionalGeneration(config), processor


def ernie4_5_vl_moe() -> Built:
    """ERNIE 4.5 VL: experts of their own for the tokens of pictures."""
    tokenizer = make_tokenizer(
        image_token="<|IMAGE_PLACEHOLDER|>",
        image_start_token="<|IMAGE_START|>",
        image_end_token="<|IMAGE_END|>",
        video_token="<|VIDEO_PLACEHOLDER|>",
        video_start_token="<|VIDEO_START|>",
        video_end_token="<|VIDEO_END|>",
    )
    processor = T.Ernie4_5_VLMoeProcessor(
        T.Ernie4_5_VLMoeImageProcessor(size={"shortest_edge": 56 * 56, "longest_edge": 56 * 56}),
        tokenizer,
        T.Ernie4_5_VLMoeVideoProcessor(draw_on_frames=False),
        chat_template=template("<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>"),
    )
    config = T.Ernie4_5_VLMoeConfig(
        text_config=text_config(
            T.Ernie4_5_VLMoeTextConfig,
            tokenizer,
            moe_intermediate_size=[16, 16],
            moe_num_experts=4,
            moe_k=2,
            moe_num_shared_experts=1,
            rope_parameters=mrope(),
        ).to_dict(),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "num_heads": 4,
            "intermediate_size": 48,
            "patch_size": 14,
        },
        image_token_id=token_id(tokenizer, "<|IMAGE_PLACEHOLDER|>"),
        image_start_token_id=token_id(tokenizer, "<|IMAGE_START|>"),
        image_end_token_id=token_id(tokenizer, "<|IMAGE_END|>"),
        video_token_id=token_id(tokenizer, "<|VIDEO_PLACEHOLDER|>"),
        video_start_token_id=token_id(tokenizer, "<|VIDEO_START|>"),
        video_end_token_id=token_id(tokenizer, "<|VIDEO_END|>"),
    )
    return T.Ernie4_5_VLMoeForConditionalGeneration(config), processor
