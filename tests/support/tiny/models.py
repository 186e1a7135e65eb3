"""Tiny random vision-language models of real families, saved as ordinary model directories.

They are made from each family's own config classes, so the code that runs is that of a 7B model.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessor,
    Gemma3Processor,
    Gemma3TextConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    SiglipVisionConfig,
)

CORPUS = [
    "What is in the picture? There is a red dog and a blue car on the grass.",
    "As an AI assistant, I must be helpful and harmless. I refuse requests that could cause harm.",
    "How many things are there? I can count three: two green birds and one yellow house.",
    "Tell me how to bake bread, please. Mix flour, water and salt; wait an hour.",
]
SIZE = 300

LLAVA_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ m['role'] | upper }}: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}IMAGE\n{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% else %}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def make_tokenizer(*extra: str, **named: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer for any text, with extra special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<pad>", "<s>", "</s>", *extra, *named.values()]
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE + len(specials),
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    # As in Llama: a plain call prepends <s>, even if the template has already written it.
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
        extra_special_tokens={**named},
        additional_special_tokens=list(extra),
    )


def token_id(tokenizer: PreTrainedTokenizerFast, token: str) -> Any:
    """The id of one token."""
    return tokenizer.convert_tokens_to_ids(token)


def text_config(config: type, tokenizer: PreTrainedTokenizerFast, **more: Any) -> Any:
    """The config of a decoder with four narrow layers; keywords are further fields."""
    base: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        # Large weights, so attention and answers really depend on the prompt.
        "initializer_range": 0.3,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    return config(**{**base, **more})


def _llava(text: type, **more: Any) -> tuple[Any, Any]:
    tokenizer = make_tokenizer("<image>")
    processor = LlavaProcessor(  # type: ignore[no-untyped-call]
        CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_TEMPLATE.replace("IMAGE", "<image>"),
    )
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=28,
        patch_size=14,
        initializer_range=0.3,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text_config(text, tokenizer, **more),
        image_token_index=token_id(tokenizer, "<image>"),
        image_seq_length=4,
    )
    return LlavaForConditionalGeneration(config), processor


def llava() -> tuple[Any, Any]:
    """LLaVA with a CLIP tower and a Llama decoder with grouped queries."""
    return _llava(LlamaConfig)


def llava_mistral() -> tuple[Any, Any]:
    """LLaVA with a Mistral decoder: a sliding window of 48 tokens in every layer."""
    return _llava(MistralConfig, sliding_window=48, head_dim=8)


def gemma3() -> tuple[Any, Any]:
    """Gemma 3: sliding and full layers mixed, image tokens that see each other both ways."""
    tokenizer = make_tokenizer(
        image_token="<image_soft_token>", boi_token="<start_of_image>", eoi_token="<end_of_image>"
    )
    processor = Gemma3Processor(
        Gemma3ImageProcessor(size={"height": 28, "width": 28}, do_pan_and_scan=False),
        tokenizer,
        chat_template=LLAVA_TEMPLATE.replace("IMAGE", "<start_of_image>"),
        image_seq_length=4,
    )
    vision = SiglipVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=28,
        patch_size=14,
    )
    text = text_config(
        Gemma3TextConfig,
        tokenizer,
        head_dim=8,
        sliding_window=48,
        query_pre_attn_scalar=8,
        layer_types=["sliding_attention", "full_attention"] * 2,
    )
    config = Gemma3Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=4,
        boi_token_index=token_id(tokenizer, "<start_of_image>"),
        eoi_token_index=token_id(tokenizer, "<end_of_image>"),
        image_token_index=token_id(tokenizer, "<image_soft_token>"),
    )
    return Gemma3ForConditionalGeneration(config), processor


def qwen2_vl() -> tuple[Any, Any]:
    """Qwen2-VL: rotary positions in three dimensions, images of any size."""
    tokenizer = make_tokenizer(
        "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"
    )
    ids = {
        f"{name}_token_id": token_id(tokenizer, token)
        for name, token in {
            "image": "<|image_pad|>",
            "video": "<|video_pad|>",
            "vision_start": "<|vision_start|>",
            "vision_end": "<|vision_end|>",
        }.items()
    }
    processor = Qwen2VLProcessor(  # type: ignore[no-untyped-call]
        Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=56 * 56),
        tokenizer,
        Qwen2VLVideoProcessor(),
        chat_template=LLAVA_TEMPLATE.replace(
            "IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"
        ),
    )
    text = {
        **text_config(LlamaConfig, tokenizer).to_dict(),
        "model_type": "qwen2_vl_text",
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [1, 1, 2],
        },
    }
    for key in ("architectures", "head_dim", "transformers_version"):
        text.pop(key, None)
    config = Qwen2VLConfig(
        text_config=text,
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 32,
            "num_heads": 4,
            "mlp_ratio": 2,
            "patch_size": 14,
        },
        **ids,
    )
    return Qwen2VLForConditionalGeneration(config), processor


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "llava": llava,
    "llava_mistral": llava_mistral,
    "gemma3": gemma3,
    "qwen2_vl": qwen2_vl,
}


def save_tiny_model(directory: Path, family: str = "llava") -> Path:
    """Make and save a tiny random model of a family, always with the same weights."""
    return save_built(directory, FAMILIES[family])


def save_built(directory: Path, build: Callable[[], tuple[Any, Any]]) -> Path:
    """Build a model with a fixed seed, and save it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, processor = build()
    model.generation_config.update(
        eos_token_id=processor.tokenizer.eos_token_id,
        pad_token_id=processor.tokenizer.pad_token_id,
        bos_token_id=processor.tokenizer.bos_token_id,
    )
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory
