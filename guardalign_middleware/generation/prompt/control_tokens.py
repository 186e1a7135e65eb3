"""A model's control tokens, and breaking them in foreign text.

Otherwise text could contain an image placeholder, a role token or a span mark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from transformers import ProcessorMixin

from guardalign_middleware.errors import MessageError
from guardalign_middleware.generation.prompt.span_marks import MARK_CHARACTERS
from guardalign_middleware.intake.unicode_text import check_unicode

_REPLACEMENT = "\ufffd"


def control_tokens(processor: ProcessorMixin) -> tuple[str, ...]:
    """Every string that the tokenizer or the processor does not read as plain text."""
    tokenizer = processor.tokenizer
    tokens = set(tokenizer.all_special_tokens)
    tokens.update(t.content for t in tokenizer.added_tokens_decoder.values() if t.special)
    for holder in (processor, tokenizer):
        for name in vars(holder):
            value = getattr(holder, name)
            if name.endswith("_token") and isinstance(value, str):
                tokens.add(value)
    return tuple(sorted(token for token in tokens if token.strip()))


def neutralise(text: str, tokens: Iterable[str]) -> str:
    """Break every control token and span mark in foreign text, and leave it readable.

    A control token such as `<image>` becomes `< image>`. A control token of one character and a
    span mark become U+FFFD. Repeated until none is left, because breaking one token can join the
    halves of another. A token with line ends around it is also broken where the text begins or
    ends.

    >>> neutralise("Describe <image> for me.", ["<image>"])
    'Describe < image> for me.'

    Raises:
        MessageError: not every control token can be broken, or the text is no Unicode.
    """
    check_unicode(text, "A text of the conversation")
    for mark in MARK_CHARACTERS:
        text = text.replace(mark, _REPLACEMENT)
    longest_first = sorted((t for t in set(tokens) if t.strip()), key=len, reverse=True)
    edge = "\n" if any(token[0] == "\n" for token in longest_first) else ""
    text = f"{edge}{text}{edge}"
    for _ in range(len(longest_first) + 1):
        found = [token for token in longest_first if token in text]
        if not found:
            return text[len(edge) : len(text) - len(edge)]
        for token in found:
            broken = f"{token[0]} {token[1:]}" if len(token) > 1 else _REPLACEMENT
            text = text.replace(token, broken)
    raise MessageError(
        "A text contains control tokens of the model that cannot be broken.",
        remedy="Remove the model's special tokens from the text.",
    )


def neutralise_json(value: Any, tokens: Sequence[str]) -> Any:
    """Neutralise every string in plain JSON values; errors are those of `neutralise`."""
    if isinstance(value, str):
        return neutralise(value, tokens)
    if isinstance(value, Mapping):
        return {
            neutralise_json(key, tokens): neutralise_json(item, tokens)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [neutralise_json(item, tokens) for item in value]
    return value
