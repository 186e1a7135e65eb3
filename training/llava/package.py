"""The miniature LLaVA as a transformers directory: tokenizer, chat template, processor, model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from guardalign_middleware.mini.questions import vocabulary
from training.llava.scenes import PATCH, SIDE
from training.llava.vision import MEAN, STD, vision_config

SPECIAL = ("<pad>", "<unk>", "<s>", "</s>", "<image>", "<system>", "<user>", "<assistant>")
TEMPLATE = """{{ '<s>' }}{% for message in messages -%}
{{ '<assistant>' if message['role'] == 'assistant' else
   '<system>' if message['role'] == 'system' else '<user>' }}
{%- if message['content'] is string %} {{ message['content'] }}
{%- else %}{% for part in message['content'] %}
{%- if part['type'] == 'image' %} <image>{% elif part['type'] == 'text' %} {{ part['text'] }}
{%- endif %}{% endfor %}{% endif %}
{%- if message['role'] == 'assistant' %}{{ '</s>' }}{% endif %}
{%- endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"""


@dataclass(frozen=True)
class Form:
    """The size of a miniature.

    Attributes:
        layers: of the language model.
        context: maximum number of tokens.
        more_words: words in addition to those of the questions; they get the last ids.
    """

    layers: int = 6
    context: int = 512
    more_words: tuple[str, ...] = ()


SHIPPED = Form()


def tokenizer(form: Form = SHIPPED) -> PreTrainedTokenizerFast:
    """A lower-casing word-level tokenizer; unknown words become `<unk>`."""
    words = (*SPECIAL, *vocabulary(), *form.more_words)
    ids = {word: index for index, word in enumerate(words)}
    fast = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    fast.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    # The word-piece decoder puts spaces between words and none before punctuation.
    fast.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=fast,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<image>", "<system>", "<user>", "<assistant>"],
        model_max_length=form.context,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def processor(form: Form = SHIPPED) -> LlavaProcessor:
    """Squashes the whole picture to 84 px, without a crop: the guard scans all that is shown."""
    images = CLIPImageProcessor(
        size={"height": SIDE, "width": SIDE},
        do_center_crop=False,
        image_mean=[MEAN] * 3,
        image_std=[STD] * 3,
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer(form),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE,
        image_token="<image>",
        num_additional_image_tokens=1,
    )


def untrained(form: Form = SHIPPED) -> LlavaForConditionalGeneration:
    """The untrained model: a small CLIP tower and Llama layers of width 128."""
    tokens = tokenizer(form)
    text = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=form.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=form.context,
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
        tie_word_embeddings=False,
    )
    config = LlavaConfig(
        vision_config=vision_config(),
        text_config=text,
        image_token_index=tokens.get_vocab()["<image>"],
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
        image_seq_length=(SIDE // PATCH) ** 2,
        tie_word_embeddings=False,
    )
    return LlavaForConditionalGeneration(config)


def save(model: LlavaForConditionalGeneration, out: Path, form: Form = SHIPPED) -> None:
    """Write the directory, with fp16 weights."""
    tokens = tokenizer(form)
    model.generation_config.eos_token_id = tokens.eos_token_id
    model.generation_config.pad_token_id = tokens.pad_token_id
    model.generation_config.bos_token_id = tokens.bos_token_id
    copy = untrained(form).half()
    copy.load_state_dict(model.state_dict())
    copy.generation_config = model.generation_config
    copy.save_pretrained(out, safe_serialization=True)
    processor(form).save_pretrained(out)


def load(out: Path) -> LlavaForConditionalGeneration:
    """A saved model, in float32."""
    return LlavaForConditionalGeneration.from_pretrained(
        out, dtype=torch.float32, local_files_only=True, use_safetensors=True
    ).eval()
