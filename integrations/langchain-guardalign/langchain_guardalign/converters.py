"""LangChain messages to GuardAlign's role/content mappings; pure, no model and no image decoding.

Every known way of writing an image becomes one part that the core takes in itself, so that the
bytes are resolved once. A block that is not known raises: it could carry an image past the guard.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

from guardalign_middleware.errors import MessageError
from langchain_guardalign.blocks import Part, block_type, read_image

_ROLES: tuple[tuple[type[BaseMessage], str], ...] = (
    (HumanMessage, "user"),
    (AIMessage, "assistant"),
    (SystemMessage, "system"),
    (ToolMessage, "tool"),
    (FunctionMessage, "tool"),
)
_SPOKEN_ROLES = {
    "human": "user",
    "user": "user",
    "ai": "assistant",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
}
# A model's own notes to itself, and calls that `AIMessage.tool_calls` repeats: never shown again.
_DROPPED = {
    "reasoning",
    "redacted_thinking",
    "thinking",
    "tool_call",
    "tool_call_chunk",
    "tool_use",
}


def in_words(calls: Sequence[ToolCall]) -> str:
    """Calls as text, for a model that has no syntax of its own for them.

    Raises:
        MessageError: arguments that are no JSON.
    """
    try:
        return "\n".join(
            f"[called {call['name']} with {json.dumps(call['args'])}]" for call in calls
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(
            "A tool call has arguments that are no JSON.",
            remedy="Give tool calls strings, numbers, lists and mappings only.",
        ) from error


def to_role_content(
    messages: Sequence[BaseMessage], written: Callable[[Sequence[ToolCall]], str] = in_words
) -> list[dict[str, Any]]:
    """Turn LangChain messages into what `GuardAlign.invoke` takes; the messages are not changed.

    Args:
        messages: the conversation.
        written: how calls that were made before are told to the model.

    Raises:
        MessageError: a role or a content block that is not known; the message names the place.
        ImageRejected: an image behind a file id.
    """
    return [
        {
            "role": _role(message, index),
            "content": _content(message, f"messages[{index}].content", written),
        }
        for index, message in enumerate(messages)
    ]


def _role(message: BaseMessage, index: int) -> str:
    if isinstance(message, ChatMessage) and message.role.lower() in _SPOKEN_ROLES:
        return _SPOKEN_ROLES[message.role.lower()]
    for kind, role in _ROLES:
        if isinstance(message, kind):
            return role
    raise MessageError(
        f"messages[{index}] is a {type(message).__name__}, which has no place in a conversation."
    )


def _content(
    message: BaseMessage, place: str, written: Callable[[Sequence[ToolCall]], str]
) -> list[Part]:
    parts = _parts(message.content, place)
    if isinstance(message, AIMessage) and message.tool_calls:
        parts.append({"type": "text", "text": written(message.tool_calls)})
    return parts or [{"type": "text", "text": ""}]


def _parts(content: object, place: str) -> list[Part]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if isinstance(content, Mapping):
        return _block(content, place)
    if isinstance(content, Sequence) and not isinstance(content, bytes | bytearray):
        return [
            part for index, item in enumerate(content) for part in _parts(item, f"{place}[{index}]")
        ]
    raise MessageError(f"{place} is a {type(content).__name__}.")


def _block(block: Mapping[str, Any], place: str) -> list[Part]:
    kind = block_type(block)
    if kind in _DROPPED:
        return []
    if kind in {"text", "text-plain"} and isinstance(block.get("text"), str):
        return [{"type": "text", "text": block["text"]}]
    if kind == "tool_result":
        return _parts(block.get("content", ""), f"{place}.content")
    slot = read_image(block, place)
    if slot is not None:
        return [slot.part]
    if kind == "non_standard" and isinstance(block.get("value"), Mapping):
        return _block(block["value"], f"{place}.value")
    found = f"the unknown type {kind!r}" if isinstance(kind, str) else "no known type"
    raise MessageError(
        f"{place} has {found}.", remedy="Only text and images can be shown to this model."
    )
