"""Tiny random models whose tower sits inside the decoder, or that have no tower at all."""

from __future__ import annotations

import transformers as T

from tests.support.tiny.models import make_tokenizer, text_config, token_id
from tests.support.tiny.parts import SIDE, Built, template


def phi4_multimodal() -> Built:
    """Phi-4 multimodal: the towers for pictures and sound are parts of the decoder."""
    tokenizer = make_tokenizer(image_token="<|image|>", audio_token="<|audio|>")
    processor = T.Phi4MultimodalProcessor(  # type: ignore[no-untyped-call]
        # Its number of image tokens is right for crops of 448 pixels alone.
        T.Phi4MultimodalImageProcessor(dynamic_hd=2),
        T.Phi4MultimodalFeatureExtractor(),
        tokenizer,
        chat_template=template("<|image|>"),
    )
    config = text_config(
        T.Phi4MultimodalConfig,
        tokenizer,
        # Two pictures are a thousand tokens.
        max_position_embeddings=4096,
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_token_id": token_id(tokenizer, "<|image|>"),
        },
        audio_config={
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_blocks": 2,
            "num_attention_heads": 2,
            "ext_pw_out_channel": 16,
            "depthwise_separable_out_channel": 16,
            "nemo_conv_channels": 16,
            "audio_token_id": token_id(tokenizer, "<|audio|>"),
        },
    )
    return T.Phi4MultimodalForCausalLM(config), processor


def kimi_k25() -> Built:
    """Kimi K2.5: multi-head latent attention and experts, pictures of any size."""
    tokenizer = make_tokenizer("<|media_pad|>", "<|kimi_k25_video_placeholder|>")
    processor = T.Kimi_K25Processor(  # type: ignore[no-untyped-call]
        T.Kimi_K25ImageProcessor(size={"max_height": 4, "max_width": 4}),
        tokenizer,
        T.Kimi_K25VideoProcessor(),
        chat_template=template("<|media_pad|>"),
    )
    text = text_config(
        T.DeepseekV3Config,
        tokenizer,
        num_key_value_heads=4,
        moe_intermediate_size=16,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=1,
        kv_lora_rank=16,
        q_lora_rank=16,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=8,
    )
    config = T.Kimi_K25Config(
        text_config=text,
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "pos_emb_height": 8,
            "pos_emb_width": 8,
        },
        projection_hidden_size=32,
        image_token_id=token_id(tokenizer, "<|media_pad|>"),
        video_token_id=token_id(tokenizer, "<|kimi_k25_video_placeholder|>"),
        tie_word_embeddings=False,
    )
    return T.Kimi_K25ForConditionalGeneration(config), processor


def fuyu() -> Built:
    """Fuyu: no tower, patches go straight into the decoder."""
    tokenizer = make_tokenizer("|SPEAKER|", "|NEWLINE|", "<0x04>")
    processor = T.FuyuProcessor(  # type: ignore[no-untyped-call]
        T.FuyuImageProcessor(size={"height": 60, "width": 60}), tokenizer
    )
    config = T.FuyuConfig(
        text_config=text_config(
            T.PersimmonConfig, tokenizer, num_key_value_heads=4, hidden_act="relu2"
        ).to_dict(),
        image_token_id=token_id(tokenizer, "|SPEAKER|"),
    )
    return T.FuyuForCausalLM(config), processor


def florence2() -> Built:
    """Florence-2: an encoder and a decoder; it takes a task for a picture and no conversation."""
    tokenizer = make_tokenizer(image_token="<image>")
    images = T.CLIPImageProcessor(size=SIDE, crop_size=SIDE)
    images.image_seq_length = 4
    processor = T.Florence2Processor(images, tokenizer, num_additional_image_tokens=1)
    config = T.Florence2Config(
        vision_config={
            "depths": [1, 1],
            "patch_size": [7, 3],
            "patch_stride": [4, 2],
            "patch_padding": [3, 1],
            "patch_prenorm": [False, True],
            "embed_dim": [16, 32],
            "num_heads": [2, 2],
            "num_groups": [2, 2],
            "window_size": 4,
            "projection_dim": 32,
        },
        text_config={
            "model_type": "bart",
            "vocab_size": len(tokenizer),
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
        },
        image_token_id=token_id(tokenizer, "<image>"),
    )
    return T.Florence2ForConditionalGeneration(config), processor
