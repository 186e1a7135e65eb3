"""Tiny random models whose last layers attend with the keys of earlier ones."""

from __future__ import annotations

import transformers as T

from tests.support.tiny.decoders import gemma4_with
from tests.support.tiny.models import make_tokenizer, text_config, token_id
from tests.support.tiny.parts import Built, template


def gemma3n() -> Built:
    """Gemma 3n: the last layers attend with the keys of earlier ones, and are left alone."""
    names = {
        "image_token": "<image_soft_token>",
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
        "audio_token": "<audio_soft_token>",
        "boa_token": "<start_of_audio>",
        "eoa_token": "<end_of_audio>",
    }
    tokenizer = make_tokenizer(**names)
    processor = T.Gemma3nProcessor(
        T.Gemma3nAudioFeatureExtractor(),
        T.SiglipImageProcessor(size={"height": 64, "width": 64}),
        tokenizer,
        image_seq_length=4,
        chat_template=template("<image_soft_token>"),
    )
    size = len(tokenizer)
    config = T.Gemma3nConfig(
        text_config=text_config(
            T.Gemma3nTextConfig,
            tokenizer,
            num_hidden_layers=6,
            num_kv_shared_layers=2,
            head_dim=8,
            sliding_window=48,
            layer_types=["sliding_attention", "full_attention"] * 3,
            vocab_size_per_layer_input=size,
            hidden_size_per_layer_input=8,
            altup_num_inputs=2,
            laurel_rank=4,
        ),
        vision_config=T.Gemma3nVisionConfig(
            architecture="test_efficientnet", hidden_size=256, vocab_size=4, vocab_offset=size
        ),
        audio_config=T.Gemma3nAudioConfig(
            vocab_size=4,
            vocab_offset=size + 4,
            hidden_size=16,
            conf_num_attention_heads=2,
            conf_num_hidden_layers=1,
            sscp_conv_channel_size=(4, 4),
        ),
        vision_soft_tokens_per_image=4,
        **{f"{name}_id": token_id(tokenizer, token) for name, token in names.items()},
    )
    return T.Gemma3nForConditionalGeneration(config), processor


def gemma4_shared() -> Built:
    """Gemma 4 with shared keys (E2B, E4B): of a prompt, the last layers read one token alone."""
    return gemma4_with(
        num_hidden_layers=6,
        num_kv_shared_layers=2,
        layer_types=["sliding_attention", "full_attention"] * 3,
        hidden_size_per_layer_input=8,
    )
