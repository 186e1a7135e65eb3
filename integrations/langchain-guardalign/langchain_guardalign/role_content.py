"""Translate LangChain messages to the role/content mappings of `GuardAlign.invoke`.

Image blocks of every known dialect become parts of the core, which decodes them. What becomes of
other blocks is decided by the core's table, `intake/block_kinds.py`. A block that could carry an
image past the guard is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
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

from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.content_blocks import BlockReader
from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.intake.dialects import Block, Part, read_image
from guardalign_middleware.intake.messages import ROLES, said_beside
from guardalign_middleware.intake.pdf_blocks import pdf_file
from guardalign_middleware.intake.picture_traces import picture_trace
from guardalign_middleware.intake.refused_parts import RefusedPart
from guardalign_middleware.replies import Dropped

CallWriter = Callable[[Sequence[ToolCall]], str]

_ROLES: tuple[tuple[type[BaseMessage], str], ...] = (
    (HumanMessage, "user"),
    (AIMessage, "assistant"),
    (SystemMessage, "system"),
    (ToolMessage, "tool"),
    (FunctionMessage, "tool"),
)
_CHAT_ROLES = {**ROLES, "human": "user", "ai": "assistant"}
_ACCEPTED = "Only text and images can be shown to this model."


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
    messages: Sequence[BaseMessage],
    write_calls: CallWriter = calls_in_words,
    *,
    raises: bool = True,
) -> list[dict[str, Any]]:
    """Translate messages to the argument of `GuardAlign.invoke`; the messages are not changed.

    Blocks without text and without an image are left out; a turn lists them under `dropped`.

    Args:
        messages: the conversation.
        write_calls: writes the tool calls of earlier turns as text.
        raises: whether a block that cannot be read raises its error; otherwise a `RefusedPart`
            takes its place, and the chain decides.

    Raises:
        MessageError: an unknown role, or a block that could hold an image and cannot be read; the
            error names its place.
        ImageRejected: an image behind a file id.
    """
    return [_turn(message, index, write_calls, raises) for index, message in enumerate(messages)]


def says_something(parts: Sequence[Part | RefusedPart]) -> bool:
    """Whether there is more than empty texts."""
    return any(isinstance(part, RefusedPart) or part.get("text", "image") for part in parts)


def role_of(message: BaseMessage) -> str | None:
    """The core's name of a message's role; None for an unknown one."""
    if isinstance(message, ChatMessage):
        return _CHAT_ROLES.get(message.role.lower())
    return next((role for kind, role in _ROLES if isinstance(message, kind)), None)


def _role(message: BaseMessage, index: int) -> str:
    role = role_of(message)
    if role is None:
        raise MessageError(
            f"messages[{index}] is a {type(message).__name__}, which is not a turn of a "
            "conversation."
        )
    return role


def _turn(
    message: BaseMessage, index: int, write_calls: CallWriter, raises: bool
) -> dict[str, Any]:
    place = f"messages[{index}]"
    reader: BlockReader[Part | RefusedPart] = BlockReader(
        _picture,
        _text,
        _ACCEPTED,
        calls=_call_ids(message),
        refused=None if raises else RefusedPart.of,
    )
    parts = [
        part for content, spot in _contents(message, place) for part in reader.read(content, spot)
    ]
    dropped = list(reader.dropped)
    if isinstance(message, AIMessage):
        said = said_beside(message.additional_kwargs)
        if said is not None and not says_something(parts):
            parts = [_text(said)]
        if message.tool_calls:
            parts.append(_calls(message, write_calls, f"{place}.tool_calls", raises))
        dropped += [
            Dropped("invalid_tool_call", f"{place}.invalid_tool_calls[{number}]")
            for number in range(len(message.invalid_tool_calls))
        ]
    turn: dict[str, Any] = {"role": _role(message, index), "content": parts or [_text("")]}
    return {**turn, "dropped": dropped} if dropped else turn


def _calls(
    message: AIMessage, write_calls: CallWriter, place: str, raises: bool
) -> Part | RefusedPart:
    try:
        return _text(write_calls(message.tool_calls))
    except (ImageRejected, MessageError) as error:
        if raises:
            raise
        return RefusedPart.of(error, message.tool_calls, place)


def _contents(message: BaseMessage, place: str) -> list[tuple[Any, str]]:
    """What a message holds for a model to see, each with its place."""
    content: Any = message.content
    extra = message.additional_kwargs
    if extra.get("type") == "computer_call_output" and isinstance(content, str):
        if is_data_url(content):
            # langchain-openai sends this string as a picture.
            content = {"type": "input_image", "image_url": content}
    found = [([] if content is None else content, f"{place}.content")]
    # Where langchain-openai's older format keeps the blocks of a Responses answer.
    outputs = extra.get("tool_outputs")
    if isinstance(message, AIMessage) and isinstance(outputs, list | tuple):
        found.append((outputs, f"{place}.additional_kwargs.tool_outputs"))
    return found


def _call_ids(message: BaseMessage) -> set[str]:
    """The calls that are written as text, or noted as invalid, from the message's own lists."""
    if not isinstance(message, AIMessage):
        return set()
    calls = [*message.tool_calls, *message.invalid_tool_calls]
    return {str(each["id"]) for each in calls if each.get("id") is not None}


def _text(text: str) -> Part:
    return {"type": "text", "text": text}


def _picture(block: Block, place: str) -> list[Part] | None:
    if pdf_file(block) is not None:
        return [dict(block)]  # The core reads it in every dialect, as its policy says.
    slot = read_image(block, place)
    if slot is None:
        return None
    if picture_trace(slot.rest, "known", place, declared=False) is not None:
        raise MessageError(
            f"{place} holds two images, but a model would see only one of them.",
            remedy="Give each image its own block.",
        )
    return [slot.part]
