"""The conversation with its safety prefix, in the form that chat templates read.

Under causal attention an instruction attends only to what precedes it, so the prefix is always
placed ahead of the user's last instruction: right before its first words, or in the system message.
Foreign text is neutralised on the way, so it contains no image placeholder, control token, role
word of the template or span mark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from guardalign_middleware.errors import ConfigError, MessageError
from guardalign_middleware.generation.prompt.control_tokens import neutralise
from guardalign_middleware.generation.prompt.span_marks import NO_MARKS, SpanMarks
from guardalign_middleware.types import Message, TextPart

Placement = Literal["before_instruction", "system"]
Conversation = list[dict[str, Any]]


def check_prefix(text: str, control_tokens: Iterable[str]) -> str:
    """Check a safety prefix and strip the white space around it.

    Raises:
        ConfigError: it is empty, or contains a control token of the model.
    """
    stripped = text.strip()
    if not stripped:
        raise ConfigError(
            "The safety prefix is empty.",
            remedy="Give prefix.text some words, or generate with prefix=False.",
        )
    try:
        plain = neutralise(stripped, control_tokens)
    except MessageError as error:
        raise ConfigError(f"The safety prefix cannot be used: {error}") from error
    if plain != stripped:
        raise ConfigError(
            "The safety prefix contains a control token of the model or a private-use mark.",
            remedy="Write prefix.text in plain words.",
        )
    return stripped


def instruction_index(messages: Sequence[Message]) -> int:
    """Index of the message that holds the instruction: the user's last one.

    Raises:
        MessageError: there is no user message.
    """
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role == "user":
            return index
    raise MessageError(
        "There is no message with role 'user'.",
        remedy="Send at least one user message; it is what the model answers.",
    )


def build_conversation(
    messages: Sequence[Message],
    *,
    prefix: str | None,
    placement: Placement,
    control_tokens: Iterable[str],
    marks: SpanMarks = NO_MARKS,
) -> Conversation:
    """Messages in the form of a chat template, with the prefix in place and the spans marked.

    The instruction is all text of the last user message. Images become `{"type": "image"}`
    placeholders in the same position.

    Raises:
        MessageError: no user message, or text that cannot be neutralised.
    """
    tokens = tuple(control_tokens)
    target = instruction_index(messages)
    marked_prefix = None if prefix is None else f"{marks.prefix_open}{prefix}{marks.prefix_close}"
    conversation: Conversation = []
    for index, message in enumerate(messages):
        content: list[dict[str, Any]] = []
        for part in message.parts:
            if isinstance(part, TextPart):
                text = neutralise(part.text, tokens)
                if index == target and prefix is not None:
                    text = _mark_instruction(text, marks)
                content.append({"type": "text", "text": text})
            else:
                content.append({"type": "image"})
        conversation.append({"role": message.role, "content": content})
    if marked_prefix is not None:
        if placement == "system":
            _put_in_system(conversation, marked_prefix)
        else:
            _put_before_text(conversation[target]["content"], marked_prefix)
    return conversation


def _mark_instruction(text: str, marks: SpanMarks) -> str:
    # Marks go next to the words, so a template that strips text still sees the outer white space.
    core = text.strip()
    if not core:
        return text
    start = text.index(core)
    marked = f"{marks.instruction_open}{core}{marks.instruction_close}"
    return f"{text[:start]}{marked}{text[start + len(core) :]}"


def _put_before_text(content: list[dict[str, Any]], prefix: str) -> None:
    for part in content:
        if part["type"] == "text":
            part["text"] = f"\n{prefix}\n{part['text']}"
            return
    content.append({"type": "text", "text": f"\n{prefix}\n"})


def _put_in_system(conversation: Conversation, prefix: str) -> None:
    if conversation[0]["role"] == "system":
        conversation[0]["content"].append({"type": "text", "text": f"\n{prefix}\n"})
    else:
        text = {"type": "text", "text": prefix}
        conversation.insert(0, {"role": "system", "content": [text]})
