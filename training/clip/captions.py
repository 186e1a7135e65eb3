"""Captions of concepts and kinds, and the tokenizer of the miniature encoder."""

from __future__ import annotations

from functools import cache

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from guardalign_middleware.mini.world import CONCEPTS

CONTEXT_LENGTH = 12
NOTHING = "nothing"
NOTHING_WORDS = (NOTHING, "background", "emptiness", "fragment")
KINDS = tuple(dict.fromkeys(concept.kind for concept in CONCEPTS))
TEMPLATES = (
    "{}",
    "a {}",
    "the {}",
    "one {}",
    "a picture of a {}",
    "a photo of a {}",
    "a drawing of a {}",
    "there is a {}",
    "a small {}",
    "a large {}",
    "this is a {}",
)


def vocabulary() -> list[str]:
    """Every word of the captions; argmax pooling needs the end mark to have the largest id."""
    words = [word for concept in CONCEPTS for word in concept.words]
    words += [*KINDS, *NOTHING_WORDS]
    words += [word for template in TEMPLATES for word in template.split() if word != "{}"]
    return ["<pad>", "<unk>", "<s>", *dict.fromkeys(words), "</s>"]


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """A lower-casing word-level tokenizer that adds begin and end marks."""
    ids = {word: index for index, word in enumerate(vocabulary())}
    fast = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    fast.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    fast.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        special_tokens=[("<s>", ids["<s>"]), ("</s>", ids["</s>"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=fast,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=CONTEXT_LENGTH,
    )


def bank(rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """A random caption for every concept ("nothing" comes last), and one for every kind."""

    def caption(words: tuple[str, ...]) -> str:
        template = str(rng.choice(list(TEMPLATES))) if rng.random() < 0.7 else "{}"
        name_first = rng.random() < 0.6
        return template.format(words[0] if name_first else str(rng.choice(list(words))))

    concepts = [caption(concept.words) for concept in CONCEPTS]
    concepts.append(caption(NOTHING_WORDS))
    return concepts, [caption((kind,)) for kind in KINDS]
