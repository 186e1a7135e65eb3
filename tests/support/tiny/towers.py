"""Tiny random models like LLaVA: a vision tower, a projector, and a decoder of another family."""

from __future__ import annotations

from typing import Any

import transformers as T
from transformers import PreTrainedTokenizerFast
from transformers.models.smolvlm import processing_smolvlm

from tests.support.tiny.models import make_tokenizer, text_config, token_id
from tests.support.tiny.parts import SIDE, Built, clip, siglip, template

GRID = [[28, 56], [56, 28], [56, 56]]


def vipllava() -> Built:
    """ViP-LLaVA: features of several layers of the tower."""
    tokenizer = make_tokenizer("<image>")
    processor = T.LlavaProcessor(  # type: ignore[no-untyped-call]
        T.CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=SIDE),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template("<image>"),
    )
    config = T.VipLlavaConfig(
        vision_config=clip(),
        text_config=text_config(T.LlamaConfig, tokenizer),
        image_token_index=token_id(tokenizer, "<image>"),
        image_seq_length=4,
        vision_feature_layers=(-1, -2),
    )
    return T.VipLlavaForConditionalGeneration(config), processor


def llava_next() -> Built:
    """LLaVA-NeXT: an image in several tiles, Mistral behind it."""
    tokenizer = make_tokenizer("<image>")
    processor = T.LlavaNextProcessor(  # type: ignore[no-untyped-call]
        T.LlavaNextImageProcessor(
            size={"shortest_edge": 28}, crop_size=SIDE, image_grid_pinpoints=GRID
        ),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template("<image>"),
    )
    config = T.LlavaNextConfig(
        vision_config=clip(),
        text_config=text_config(T.MistralConfig, tokenizer, head_dim=8, sliding_window=None),
        image_token_index=token_id(tokenizer, "<image>"),
        image_grid_pinpoints=GRID,
        image_seq_length=4,
    )
    return T.LlavaNextForConditionalGeneration(config), processor


def llava_onevision() -> Built:
    """LLaVA-OneVision: tiles, SigLIP, Qwen2."""
    tokenizer = make_tokenizer("<image>", "<video>")
    processor = T.LlavaOnevisionProcessor(
        T.LlavaOnevisionImageProcessor(size=SIDE, image_grid_pinpoints=GRID),
        tokenizer,
        T.LlavaOnevisionVideoProcessor(),
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        chat_template=template("<image>"),
    )
    config = T.LlavaOnevisionConfig(
        vision_config=siglip(vision_use_head=False),
        text_config=text_config(T.Qwen2Config, tokenizer),
        image_token_index=token_id(tokenizer, "<image>"),
        video_token_index=token_id(tokenizer, "<video>"),
        image_grid_pinpoints=GRID,
    )
    return T.LlavaOnevisionForConditionalGeneration(config), processor


def _pixtral(tokenizer: PreTrainedTokenizerFast, merge: int) -> tuple[Any, Any]:
    processor = T.PixtralProcessor(
        T.PixtralImageProcessor(
            size={"longest_edge": 56}, patch_size={"height": 14 * merge, "width": 14 * merge}
        ),
        tokenizer,
        patch_size=14,
        spatial_merge_size=merge,
        chat_template=template("[IMG]"),
    )
    vision = T.PixtralVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=56,
        patch_size=14,
    )
    return processor, vision


def llava_pixtral() -> Built:
    """Pixtral: images of any size, inside the LLaVA classes."""
    tokenizer = make_tokenizer("[IMG]", "[IMG_BREAK]", "[IMG_END]")
    processor, vision = _pixtral(tokenizer, 1)
    config = T.LlavaConfig(
        vision_config=vision,
        text_config=text_config(T.MistralConfig, tokenizer, head_dim=8),
        image_token_index=token_id(tokenizer, "[IMG]"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    return T.LlavaForConditionalGeneration(config), processor


def mistral3() -> Built:
    """Mistral 3: Pixtral's tower with merged patches."""
    tokenizer = make_tokenizer("[IMG]", "[IMG_BREAK]", "[IMG_END]")
    processor, vision = _pixtral(tokenizer, 2)
    config = T.Mistral3Config(
        vision_config=vision,
        text_config=text_config(T.MistralConfig, tokenizer, head_dim=8),
        image_token_index=token_id(tokenizer, "[IMG]"),
        spatial_merge_size=2,
        tie_word_embeddings=False,
    )
    return T.Mistral3ForConditionalGeneration(config), processor


def idefics2() -> Built:
    """Idefics2: a perceiver between tower and Mistral."""
    tokenizer = make_tokenizer("<fake_token_around_image>", "<image>", "<end_of_utterance>")
    processor = T.Idefics2Processor(
        T.Idefics2ImageProcessor(
            size={"longest_edge": 56, "shortest_edge": 28}, do_image_splitting=False
        ),
        tokenizer,
        image_seq_len=4,
        chat_template=template("<image>"),
    )
    config = T.Idefics2Config(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 56,
            "patch_size": 14,
        },
        perceiver_config={
            "hidden_size": 32,
            "resampler_n_latents": 4,
            "resampler_depth": 1,
            "resampler_n_heads": 2,
            "resampler_head_dim": 16,
            "num_key_value_heads": 1,
        },
        text_config=text_config(T.MistralConfig, tokenizer, head_dim=8),
        image_token_id=token_id(tokenizer, "<image>"),
    )
    return T.Idefics2ForConditionalGeneration(config), processor


_IDEFICS3_VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 7,
}


def idefics3() -> Built:
    """Idefics3: images padded to a number per prompt."""
    tokenizer = make_tokenizer(
        "<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"
    )
    processor = T.Idefics3Processor(
        T.Idefics3ImageProcessor(
            size={"longest_edge": 28}, max_image_size={"longest_edge": 28}, do_image_splitting=False
        ),
        tokenizer,
        image_seq_len=4,
        chat_template=template("<image>"),
    )
    config = T.Idefics3Config(
        vision_config=_IDEFICS3_VISION,
        text_config=text_config(T.LlamaConfig, tokenizer),
        image_token_id=token_id(tokenizer, "<image>"),
        scale_factor=2,
    )
    return T.Idefics3ForConditionalGeneration(config), processor


def smolvlm() -> Built:
    """SmolVLM: Idefics3 made small; the processor asks for num2words, which only videos need."""
    # num2words is not a test dependency; a stand-in lets the processor load.
    processing_smolvlm.num2words = str
    tokenizer = make_tokenizer(
        "<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", "<video>"
    )
    processor = T.SmolVLMProcessor(
        T.SmolVLMImageProcessor(
            size={"longest_edge": 28}, max_image_size={"longest_edge": 28}, do_image_splitting=False
        ),
        tokenizer,
        T.SmolVLMVideoProcessor(),
        image_seq_len=4,
        chat_template=template("<image>"),
    )
    config = T.SmolVLMConfig(
        vision_config=_IDEFICS3_VISION,
        text_config=text_config(T.LlamaConfig, tokenizer),
        image_token_id=token_id(tokenizer, "<image>"),
        scale_factor=2,
    )
    return T.SmolVLMForConditionalGeneration(config), processor


def internvl() -> Built:
    """InternVL: pixel shuffle, Qwen2."""
    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = make_tokenizer(**named)
    processor = T.InternVLProcessor(
        T.GotOcr2ImageProcessor(size=SIDE, crop_to_patches=True, min_patches=1, max_patches=2),
        tokenizer,
        T.InternVLVideoProcessor(size=SIDE),
        image_seq_length=4,
        chat_template=template("<IMG_CONTEXT>"),
    )
    config = T.InternVLConfig(
        vision_config=T.InternVLVisionConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=48,
            image_size=(28, 28),
            patch_size=(7, 7),
        ),
        text_config=text_config(T.Qwen2Config, tokenizer),
        image_token_id=token_id(tokenizer, "<IMG_CONTEXT>"),
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    return T.InternVLForConditionalGeneration(config), processor


def deepseek_vl() -> Built:
    """DeepSeek-VL: SigLIP and Llama."""
    tokenizer = make_tokenizer(image_token="<image_placeholder>")
    processor = T.DeepseekVLProcessor(
        T.DeepseekVLImageProcessor(size=SIDE, min_size=14),
        tokenizer,
        chat_template=template("<image_placeholder>"),
        num_image_tokens=4,
    )
    config = T.DeepseekVLConfig(
        vision_config=siglip(vision_use_head=False),
        text_config=text_config(T.LlamaConfig, tokenizer),
        image_token_id=token_id(tokenizer, "<image_placeholder>"),
        tie_word_embeddings=False,
    )
    return T.DeepseekVLForConditionalGeneration(config), processor


def blip2() -> Built:
    """BLIP-2: a Q-Former in front of OPT."""
    tokenizer = make_tokenizer("<image>")
    processor = T.Blip2Processor(
        T.BlipImageProcessor(size=SIDE),
        tokenizer,
        num_query_tokens=4,
        chat_template=template("<image>"),
    )
    config = T.Blip2Config(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 28,
            "patch_size": 14,
        },
        qformer_config={
            "vocab_size": 50,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "encoder_hidden_size": 32,
        },
        text_config=text_config(
            T.OPTConfig, tokenizer, ffn_dim=48, word_embed_proj_dim=32, init_std=0.3
        ).to_dict(),
        num_query_tokens=4,
        image_token_index=token_id(tokenizer, "<image>"),
    )
    return T.Blip2ForConditionalGeneration(config), processor
