"""Tiny random models whose decoders are particular: soft caps, experts, chunks, masks."""

from __future__ import annotations

from typing import Any

import transformers as T
from transformers import PreTrainedTokenizerFast

from tests.support.tiny.models import make_tokenizer, text_config, token_id
from tests.support.tiny.parts import SIDE, Built, siglip, template


def _paligemma(text: Any, tokenizer: PreTrainedTokenizerFast, processor: Any) -> Built:
    config = T.PaliGemmaConfig(
        text_config=text,
        vision_config=siglip(projection_dim=32, vision_use_head=False),
        image_token_index=token_id(tokenizer, "<image>"),
        projection_dim=32,
        hidden_size=32,
        vocab_size=len(tokenizer),
    )
    return T.PaliGemmaForConditionalGeneration(config), processor


def _paligemma_processor() -> tuple[PreTrainedTokenizerFast, Any]:
    tokenizer = make_tokenizer("<image>")
    images = T.SiglipImageProcessor(size=SIDE)
    images.image_seq_length = 4
    processor = T.PaliGemmaProcessor(images, tokenizer, chat_template=template("<image>"))  # type: ignore[no-untyped-call]
    return tokenizer, processor


def paligemma() -> Built:
    """PaliGemma: the whole prompt attends to itself in both directions."""
    tokenizer, processor = _paligemma_processor()
    return _paligemma(text_config(T.GemmaConfig, tokenizer, head_dim=8), tokenizer, processor)


def paligemma2() -> Built:
    """PaliGemma 2: Gemma 2 with a soft cap on its scores, which SDPA does not know."""
    tokenizer, processor = _paligemma_processor()
    text = text_config(
        T.Gemma2Config,
        tokenizer,
        head_dim=8,
        query_pre_attn_scalar=8,
        attn_logit_softcapping=3.0,
        sliding_window=48,
    )
    return _paligemma(text, tokenizer, processor)


def gemma4() -> Built:
    """Gemma 4: sliding and full layers, pictures of any shape."""
    return gemma4_with(
        hidden_size_per_layer_input=0,
        layer_types=["sliding_attention", "full_attention"] * 2,
    )


def gemma4_with(**text: Any) -> Built:
    """A Gemma 4; keywords are fields of its decoder."""
    tokenizer = make_tokenizer(
        "<|video|>",
        image_token="<|image|>",
        boi_token="<|image>",
        eoi_token="<image|>",
        # Without these the processor takes any call for one with audio.
        audio_token="<|audio|>",
        boa_token="<|audio>",
        eoa_token="<audio|>",
    )
    processor = T.Gemma4Processor(
        T.Gemma4AudioFeatureExtractor(),
        T.Gemma4ImageProcessor(max_soft_tokens=70),
        tokenizer,
        T.Gemma4VideoProcessor(),
        chat_template=template("<|image|>"),
    )
    config = T.Gemma4Config(
        text_config=text_config(
            T.Gemma4TextConfig,
            tokenizer,
            head_dim=8,
            sliding_window=48,
            vocab_size_per_layer_input=len(tokenizer),
            **text,
        ),
        vision_config=T.Gemma4VisionConfig(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            head_dim=8,
            position_embedding_size=128,
        ),
        image_token_id=token_id(tokenizer, "<|image|>"),
        boi_token_id=token_id(tokenizer, "<|image>"),
        eoi_token_id=token_id(tokenizer, "<image|>"),
        video_token_id=token_id(tokenizer, "<|video|>"),
        audio_token_id=None,
    )
    return T.Gemma4ForConditionalGeneration(config), processor


def aya_vision() -> Built:
    """Aya Vision: Cohere 2 with sliding and full layers."""
    named = ["<image>", "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "TILE_GLOBAL"]
    tokenizer = make_tokenizer(*named, "<|IMG_LINE_BREAK|>", "TILE")
    processor = T.AyaVisionProcessor(
        T.GotOcr2ImageProcessor(size=SIDE, crop_to_patches=True, min_patches=1, max_patches=2),
        tokenizer,
        patch_size=7,
        img_size=28,
        downsample_factor=2,
        chat_template=template("<image>"),
    )
    config = T.AyaVisionConfig(
        vision_config=siglip(patch_size=7, vision_use_head=False),
        text_config=text_config(
            T.Cohere2Config,
            tokenizer,
            sliding_window=48,
            layer_types=["sliding_attention", "full_attention"] * 2,
        ),
        image_token_index=token_id(tokenizer, "<|IMG_PATCH|>"),
        downsample_factor=2,
    )
    return T.AyaVisionForConditionalGeneration(config), processor


def cohere2_vision() -> Built:
    """Command A Vision."""
    tokenizer = make_tokenizer(
        boi_token="<|START_OF_IMG|>",
        eoi_token="<|END_OF_IMG|>",
        image_token="<|IMG_PATCH|>",
        img_line_break_token="<|IMG_LINE_BREAK|>",
    )
    processor = T.Cohere2VisionProcessor(
        T.Cohere2VisionImageProcessor(size=SIDE, crop_to_patches=True, max_patches=2, patch_size=2),
        tokenizer,
        chat_template=template("<|IMG_PATCH|>"),
    )
    config = T.Cohere2VisionConfig(
        vision_config=siglip(patch_size=7, vision_use_head=False),
        text_config=text_config(
            T.Cohere2Config,
            tokenizer,
            sliding_window=48,
            layer_types=["sliding_attention", "full_attention"] * 2,
        ),
        image_token_id=token_id(tokenizer, "<|IMG_PATCH|>"),
        downsample_factor=2,
        alignment_intermediate_size=64,
    )
    return T.Cohere2VisionForConditionalGeneration(config), processor


def mllama() -> Built:
    """Llama 3.2 Vision: pictures enter through cross-attention layers, which are left alone."""
    tokenizer = make_tokenizer("<|image|>", "<|python_tag|>")
    processor = T.MllamaProcessor(
        T.MllamaImageProcessor(size=SIDE, max_image_tiles=2),
        tokenizer,
        chat_template=template("<|image|>"),
    )
    config = T.MllamaConfig(
        vision_config=T.MllamaVisionConfig(
            hidden_size=32,
            attention_heads=4,
            intermediate_size=48,
            num_hidden_layers=2,
            num_global_layers=1,
            image_size=28,
            patch_size=14,
            max_num_tiles=2,
            intermediate_layers_indices=[0],
            vision_output_dim=64,
            supported_aspect_ratios=[[1, 1], [1, 2], [2, 1]],
        ),
        text_config=text_config(
            T.MllamaTextConfig, tokenizer, num_hidden_layers=5, cross_attention_layers=[1]
        ),
        image_token_index=token_id(tokenizer, "<|image|>"),
    )
    return T.MllamaForConditionalGeneration(config), processor


def llama4() -> Built:
    """Llama 4: experts, chunked attention, layers without rotary positions."""
    names = ["<|image|>", "<|image_start|>", "<|image_end|>", "<|patch|>"]
    tokenizer = make_tokenizer(*names, "<|tile_x_separator|>", "<|tile_y_separator|>")
    processor = T.Llama4Processor(
        T.Llama4ImageProcessor(size=SIDE, max_patches=1, resize_to_max_canvas=False),
        tokenizer,
        patch_size=7,
        pixel_shuffle_ratio=0.5,
        chat_template=template("<|image|>"),
    )
    config = T.Llama4Config(
        vision_config=T.Llama4VisionConfig(
            hidden_size=32,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=28,
            patch_size=7,
            vision_output_dim=32,
            projector_input_dim=32,
            projector_output_dim=32,
        ),
        text_config=text_config(
            T.Llama4TextConfig,
            tokenizer,
            intermediate_size_mlp=48,
            head_dim=8,
            num_local_experts=2,
            attention_chunk_size=64,
        ),
        boi_token_index=token_id(tokenizer, "<|image_start|>"),
        eoi_token_index=token_id(tokenizer, "<|image_end|>"),
        image_token_index=token_id(tokenizer, "<|patch|>"),
    )
    return T.Llama4ForConditionalGeneration(config), processor


def lfm2_vl() -> Built:
    """LFM2-VL: convolutions between the attention layers; only the latter are calibrated."""
    tokenizer = make_tokenizer("<image>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>")
    processor = T.Lfm2VlProcessor(
        T.Lfm2VlImageProcessor(
            do_image_splitting=False,
            min_image_tokens=4,
            max_image_tokens=16,
            encoder_patch_size=14,
            tile_size=56,
            max_num_patches=64,
        ),
        tokenizer,
        chat_template=template("<image>"),
    )
    config = T.Lfm2VlConfig(
        vision_config=T.Siglip2VisionConfig(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            patch_size=14,
            num_patches=16,
        ),
        text_config=text_config(
            T.Lfm2Config,
            tokenizer,
            num_hidden_layers=6,
            layer_types=["conv", "full_attention", "conv", "full_attention", "full_attention"]
            + ["full_attention"],
        ),
        image_token_id=token_id(tokenizer, "<image>"),
        projector_hidden_size=48,
        tie_word_embeddings=False,
    )
    return T.Lfm2VlForConditionalGeneration(config), processor
