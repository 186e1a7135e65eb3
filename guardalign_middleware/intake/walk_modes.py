"""How strictly each part of a value is read, by where it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from guardalign_middleware.intake.block_kinds import ARGUMENTS, kind_of
from guardalign_middleware.intake.declared import Declared
from guardalign_middleware.intake.dialects import Block
from guardalign_middleware.intake.part import block_type

Mode = Literal["strict", "block", "loose", "beside", "words", "quoted"]
"""How a value is read.

- strict: message content, which a model reads; no unknown block passes.
- block: a field of such a block; what is declared a file or an image counts, and what begins like
  an image and cannot be read is not shown.
- loose: everything else around a message, which no model sees: only complete pictures count.
- beside: `additional_kwargs`, of which providers' converters send some keys as content.
- words: text and tool calls, where a block, a URL or a file id is only words.
- quoted: JSON of a trace, where only images with bytes count.
"""

# Keys under which a string is words, and those whose whole value a model wrote.
_TEXT_KEYS = {"content", "output", "page_content", "reasoning", "text", "thinking"}
_CALL_KEYS = {
    "function_call",
    "invalid_tool_calls",
    "structured_response",
    "tool_call_chunks",
    "tool_calls",
}
# Under these, blocks of an unknown kind have content of their own.
_CONTENT_KEYS = {"content", "output", "parts"}
# What langchain-openai and other converters put into requests.
_SENT: Mapping[object, Mode] = {
    "blocks": "strict",
    "content": "strict",
    "documents": "block",
    "images": "block",
    "parts": "strict",
    "tool_outputs": "strict",
}


def field_modes(block: Block, found: Declared | None, mode: Mode) -> Callable[[object, Any], Mode]:
    """The modes of the values under a block's keys, by what the block declares."""
    if mode in {"words", "quoted"}:
        return lambda key, value: mode
    kind = kind_of(block_type(block))
    media = None if found is None else found.media

    def of(key: object, value: Any) -> Mode:
        if _is_words(key, value) or (kind and kind.media is None and key in ARGUMENTS):
            return "words"
        if mode == "beside":
            return _SENT.get(key, "loose")
        if media == "text" and not _has_blocks(value):
            return "words"
        if mode == "loose" or media == "audio":
            return "loose"  # Sound can begin like an image.
        if kind is None or kind.fate != "content":
            return "strict" if key in _CONTENT_KEYS else "block"
        return "strict" if key in kind.keys else "block"

    return of


def attribute_mode(name: str, value: Any, mode: Mode) -> Mode:
    """The mode of an attribute of an object."""
    if mode in {"words", "quoted"}:
        return mode
    if _is_words(name, value):
        return "words"
    return "loose" if mode in {"loose", "beside"} else "block"


def _is_words(key: object, value: Any) -> bool:
    if key in _CALL_KEYS:
        return True
    lines = value if isinstance(value, list) else [value]
    return key in _TEXT_KEYS and all(isinstance(line, str) for line in lines)


def _has_blocks(value: Any) -> bool:
    """Whether a text document holds content blocks in the place of words."""
    if isinstance(value, Mapping):
        return any(isinstance(value.get(key), list | tuple) for key in _CONTENT_KEYS)
    return isinstance(value, list | tuple)
