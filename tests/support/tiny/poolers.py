"""Tiny random models that pool, pack or discretise what their tower makes of a picture."""

from __future__ import annotations

import transformers as T

from tests.support.tiny.models import make_tokenizer, text_config, token_id
from tests.support.tiny.parts import SIDE, Built, template
from tests.support.tiny.rotary import QWEN3_5_LAYERS


def janus() -> Built:
    """Janus: it can also draw, of which nothing is used."""
    tokenizer = make_tokenizer(
        image_token="<image_placeholder>",
        boi_token="<begin_of_image>",
        eoi_token="<end_of_image>",
    )
    processor = T.JanusProcessor(
        T.JanusImageProcessor(size=SIDE, min_size=2),
        tokenizer,
        chat_template=template("<image_placeholder>"),
    )
    processor.num_image_tokens = 4
    config = T.JanusConfig(
        text_config=text_config(T.LlamaConfig, tokenizer),
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 28,
            "patch_size": 14,
            "mlp_ratio": 2,
            "projection_dim": 32,
            "num_image_tokens": 4,
        },
        vq_config={
            "embed_dim": 8,
            "num_embeddings": 16,
            "latent_channels": 32,
            "base_channels": 32,
            "channel_multiplier": [1, 1],
            "num_res_blocks": 1,
            "projection_dim": 32,
            "image_token_embed_dim": 32,
        },
        image_token_id=token_id(tokenizer, "<image_placeholder>"),
        tie_word_embeddings=False,
    )
    return T.JanusForConditionalGeneration(config), processor


def ovis2() -> Built:
    """Ovis2: pictures become words of a visual vocabulary."""
    names = ["<IMG_START>", "<IMG_ATOM>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"]
    tokenizer = make_tokenizer("<image>", *names)
    processor = T.Ovis2Processor(
        T.Ovis2ImageProcessor(
            size=SIDE, crop_to_patches=True, max_patches=2, use_covering_area_grid=True
        ),
        tokenizer,
        chat_template=template("<image>"),
        image_seq_length=4,
    )
    indicators = [name for name in names if name != "<IMG_ATOM>"]
    config = T.Ovis2Config(
        vision_config=T.Ovis2VisionConfig(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=28,
            patch_size=14,
            vocab_size=32,
        ),
        text_config=text_config(T.Qwen2Config, tokenizer),
        image_token_id=token_id(tokenizer, "<IMG_ATOM>"),
        visual_indicator_token_ids=[token_id(tokenizer, name) for name in indicators],
        vocab_size=len(tokenizer),
        hidden_size=32,
        tie_word_embeddings=False,
    )
    return T.Ovis2ForConditionalGeneration(config), processor


def perception_lm() -> Built:
    """PerceptionLM: a tower of timm, a thumbnail and tiles."""
    tokenizer = make_tokenizer(image_token="<|image|>", video_token="<|video|>")
    processor = T.PerceptionLMProcessor(
        T.PerceptionLMVideoProcessor(),
        T.PerceptionLMImageProcessor(
            tile_size=28, max_num_tiles=1, vision_input_type="thumb+tile", size=SIDE
        ),
        tokenizer,
        patch_size=14,
        pooling_ratio=1,
        chat_template=template("<|image|>"),
    )
    vision = T.TimmWrapperConfig(
        architecture="test_vit",
        do_pooling=False,
        num_classes=0,
        model_args={"img_size": 28, "patch_size": 14, "embed_dim": 32, "num_heads": 4},
    )
    config = T.PerceptionLMConfig(
        text_config=text_config(T.LlamaConfig, tokenizer),
        vision_config=vision.to_dict() | {"embed_dim": 32},
        image_token_id=token_id(tokenizer, "<|image|>"),
        video_token_id=token_id(tokenizer, "<|video|>"),
    )
    return T.PerceptionLMForConditionalGeneration(config), processor


def molmo2() -> Built:
    """Molmo2: each token of a picture names the patches that it pools, counted over the batch."""
    names = ["<im_patch>", "<im_col>", "<im_start>", "<low_res_im_start>", "<frame_start>"]
    tokenizer = make_tokenizer("<|image|>", "<|video|>", *names, "<im_end>", "<frame_end>")
    processor = T.Molmo2Processor(
        T.Molmo2ImageProcessor(
            size={"height": 56, "width": 56}, patch_size=14, max_crops=1, overlap_margins=[0, 0]
        ),
        T.Molmo2VideoProcessor(),
        tokenizer,
        chat_template=template("<|image|>"),
    )
    config = T.Molmo2Config(
        text_config=text_config(
            T.Molmo2TextConfig, tokenizer, head_dim=8, additional_vocab_size=16
        ).to_dict(),
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "head_dim": 8,
            "image_size": [56, 56],
            "patch_size": 14,
        },
        adapter_config={
            "hidden_size": 32,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "head_dim": 8,
            "intermediate_size": 48,
            "text_hidden_size": 32,
            "vision_feature_layer": [-1, -2],
        },
        image_patch_id=token_id(tokenizer, "<im_patch>"),
        image_start_token_id=token_id(tokenizer, "<im_start>"),
        low_res_image_start_token_id=token_id(tokenizer, "<low_res_im_start>"),
        image_end_token_id=token_id(tokenizer, "<im_end>"),
        frame_start_token_id=token_id(tokenizer, "<frame_start>"),
        frame_end_token_id=token_id(tokenizer, "<frame_end>"),
    )
    return T.Molmo2ForConditionalGeneration(config), processor


def minicpm_v() -> Built:
    """MiniCPM-V 4.6: the patches of all pictures in one row, linear attention in between."""
    tokenizer = make_tokenizer(
        image_token="<|image|>",
        video_token="<|video|>",
        image_start_token="<image>",
        image_end_token="</image>",
        slice_start_token="<slice>",
        slice_end_token="</slice>",
        image_id_start_token="<image_id>",
        image_id_end_token="</image_id>",
    )
    processor = T.MiniCPMV4_6Processor(
        T.MiniCPMV4_6ImageProcessor(max_slice_nums=1, scale_resolution=56, patch_size=14),
        T.MiniCPMV4_6VideoProcessor(),
        tokenizer,
        chat_template=template("<|image|>"),
    )
    config = T.MiniCPMV4_6Config(
        text_config=text_config(
            T.Qwen3_5TextConfig,
            tokenizer,
            **QWEN3_5_LAYERS,
        ).to_dict(),
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "image_size": 56,
            "patch_size": 14,
        },
        insert_layer_id=1,
        image_size=56,
        image_token_id=token_id(tokenizer, "<|image|>"),
        video_token_id=token_id(tokenizer, "<|video|>"),
    )
    return T.MiniCPMV4_6ForConditionalGeneration(config), processor
