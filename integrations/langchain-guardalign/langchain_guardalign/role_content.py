"""Translate LangChain messages to the role/content mappings of `GuardAlign.invoke`.

Image blocks of every known dialect become parts of the core, which decodes them. An unknown block
is an error: it could carry an image past the guard.
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
from langchain_guardalign.dialects import Part, block_type, read_image

CallWriter = Callable[[Sequence[ToolCall]], str]

_ROLES: tuple[tuple[type[BaseMessage], str], ...] = (
    (HumanMessage, "user"),
    (AIMessage, "assistant"),
    (SystemMessage, "system"),
    (ToolMessage, "tool"),
    (FunctionMessage, "tool"),
)
_CHAT_ROLES = {
    "human": "user",
    "user": "user",
    "ai": "assistant",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
}
# Reasoning, which is not shown again, and calls, which are in `AIMessage.tool_calls` too.
_DROPPED = {
    "reasoning",
    "redacted_thinking",
    "thinking",
    "tool_call",
    "tool_call_chunk",
    "tool_use",
}


def calls_in_words(calls: Sequence[ToolCall]) -> str:
    """Write calls as text, for a model without a syntax for them.

    Raises:
        MessageError: arguments that are not JSON values.
    """
    try:
        return "\n".join(
            f"[called {call['name']} with {json.dumps(call['args'])}]" for call in calls
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(
            "A tool call has arguments that are not JSON values.",
            remedy="Use only strings, numbers, lists and mappings in tool calls.",
        ) from error


def to_role_content(
    messages: Sequence[BaseMessage], write_calls: CallWriter = calls_in_words
) -> list[dict[str, Any]]:
    """Translate messages to the argument of `GuardAlign.invoke`; the messages are not changed.

    Args:
        messages: the conversation.
        write_calls: writes the tool calls of earlier turns as text.

    Raises:
        MessageError: an unknown role or content block; the error names its place.
        ImageRejected: an image behind a file id.
    """
    return [
        {
            "role": _role(message, index),
            "content": _content(message, f"messages[{index}].content", write_calls),
        }
        for index, message in enumerate(messages)
    ]


def _role(message: BaseMessage, index: int) -> str:
    if isinstance(message, ChatMessage) and message.role.lower() in _CHAT_ROLES:
        return _CHAT_ROLES[message.role.lower()]
    for kind, role in _ROLES:
        if isinstance(message, kind):
            return role
    raise MessageError(
        f"messages[{index}] is a {type(message).__name__}, which is not a turn of a conversation."
    )


def _content(message: BaseMessage, place: str, write_calls: CallWriter) -> list[Part]:
    parts = _parts(message.content, place)
    if isinstance(message, AIMessage) and message.tool_calls:
        parts.append({"type": "text", "text": write_calls(message.tool_calls)})
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
