"""Refusing prompts that a tokenizer would quietly turn into something else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from torch import Tensor

from guardalign_middleware.errors import ConfigError


def check_texts(tokenizer: Callable[[list[str]], Tensor], texts: Sequence[str]) -> None:
    """Make sure that every prompt reaches the model whole.

    In a small vocabulary an unknown word becomes the unknown token, and its embedding is near
    something arbitrary; a prompt beyond the context is cut.

    Raises:
        ConfigError: a word that the vocabulary does not know, or a prompt that is too long.
    """
    for text in texts:
        if isinstance(tokenizer, HFTokenizer):
            length = _known_length(tokenizer, text)
        elif isinstance(tokenizer, SimpleTokenizer):
            length = len(tokenizer.encode(text)) + 2
        else:
            continue  # SentencePiece falls back to bytes and has no unknown words
        if tokenizer.context_length is not None and length > tokenizer.context_length:
            raise ConfigError(
                f"The prompt {text!r} has {length} tokens; the encoder reads "
                f"{tokenizer.context_length}.",
                remedy="Shorten it in the anchor file, or use a shorter template.",
            )


def _known_length(tokenizer: HFTokenizer, text: str) -> int:
    cleaned = tokenizer.clean_fn(text)
    inner = tokenizer.tokenizer
    encoded = inner(cleaned, return_offsets_mapping=inner.is_fast)
    ids = encoded["input_ids"]
    if inner.unk_token_id is not None and inner.unk_token_id in ids:
        word = cleaned
        if inner.is_fast:
            start, end = encoded["offset_mapping"][ids.index(inner.unk_token_id)]
            word = cleaned[start:end]
        raise ConfigError(
            f"The encoder does not know the word {word!r} in {text!r}.",
            remedy="Use words of its vocabulary in the anchor file and the templates.",
        )
    return len(ids)
