"""Pictures in the words of a conversation: text, reasoning, and the arguments of tool calls.

An MCP tool's picture arrives in LlamaIndex as the words `ImageContent(… data='iVBOR…')`. A model
sees no picture in words, so only a complete and unsafe one is replaced; all else stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    BaseRecursiveContentBlock,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from guardalign_middleware import notices
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.encode import png_bytes
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.hidden_images import HiddenImage, may_hide_image, replace_hidden
from guardalign_middleware.intake.part import load_picture
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.types import CanonicalImage

Put = Callable[[HiddenImage], bytes | str | None]
Hidden = CanonicalImage | None
"""A picture in words; None if it cannot be read, so that it stays."""

_MAX_DEPTH = 64
_FIELDS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (TextBlock, ("text",)),
    (ThinkingBlock, ("content", "additional_information")),
    (ToolCallBlock, ("tool_kwargs",)),
    (CitableBlock, ("title", "source")),
    (CitationBlock, ("title", "source", "additional_location_info")),
)


def find_in_words(messages: Sequence[ChatMessage], policy: IntakePolicy) -> list[Hidden]:
    """Read every picture in the words of a conversation, in reading order.

    Raises:
        MessageError: arguments of a tool call that are nested deeper than 64 levels.
    """
    hidden: list[Hidden] = []

    def put(image: HiddenImage) -> None:
        try:
            part = {"type": "image", "image": image.data}
            hidden.append(load_picture(part, "text", policy))
        except ImageRejected:
            hidden.append(None)

    _walk(messages, put)
    return hidden


def clean_words(
    messages: Sequence[ChatMessage], hidden: Sequence[Hidden], cleaned: Sequence[SanitizedImage]
) -> list[ChatMessage]:
    """Copy the messages with cleaned pictures in their words; a safe picture stays as it is.

    Args:
        messages: the caller's, which stay unchanged.
        hidden: what `find_in_words` found in them.
        cleaned: the pictures that could be read, after the guard, in the same order.
    """
    rest, images = iter(hidden), iter(cleaned)

    def put(_: HiddenImage) -> bytes | str | None:
        if next(rest) is None:
            return None
        item = next(images)
        if not item.verdict.flagged:
            return None
        return notices.UNSAFE if item.image is None else png_bytes(item.image)

    return _walk(messages, put)


def _walk(messages: Sequence[ChatMessage], put: Put) -> list[ChatMessage]:
    walked = []
    for message in messages:
        blocks = [_block(block, put) for block in message.blocks]
        same = all(new is old for new, old in zip(blocks, message.blocks, strict=True))
        walked.append(message if same else message.model_copy(update={"blocks": blocks}))
    return walked


def _block(block: Any, put: Put) -> Any:
    update: dict[str, Any] = {}
    for kind, fields in _FIELDS:
        if isinstance(block, kind):
            for field in fields:
                old = getattr(block, field)
                if (new := _value(old, put)) is not old:
                    update[field] = new
    if isinstance(block, BaseRecursiveContentBlock):
        field = block.nested_blocks_field_name()
        old = getattr(block, field)
        inner = [_block(part, put) for part in block.nested_blocks]
        if any(new is not part for new, part in zip(inner, block.nested_blocks, strict=True)):
            update[field] = inner if isinstance(old, list) else inner[0]
    return block.model_copy(update=update) if update else block


def _value(value: Any, put: Put, depth: int = 0) -> Any:
    if isinstance(value, str):
        return replace_hidden(value, put) if may_hide_image(value) else value
    if not isinstance(value, dict | list | tuple):
        return value
    if depth == _MAX_DEPTH:
        raise MessageError(
            f"A tool call has arguments that are nested deeper than {_MAX_DEPTH} levels.",
            remedy="Flatten them.",
        )
    if isinstance(value, dict):
        new = {key: _value(item, put, depth + 1) for key, item in value.items()}
        return new if any(new[key] is not value[key] for key in value) else value
    items = [_value(item, put, depth + 1) for item in value]
    same = all(new is old for new, old in zip(items, value, strict=True))
    return value if same else type(value)(items)
