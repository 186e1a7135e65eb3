"""The safety prefix and the conversation it is put into, in the form chat templates read.

Under causal attention an instruction can only attend to what stands before it, so the prefix is
always placed ahead of the user's last instruction: right before its first words, or in the system
message. Foreign text is neutralised on the way, so nobody can write an image placeholder, a control
token or one of the span marks by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from guardalign_middleware.errors import ConfigError, MessageError
from guardalign_middleware.types import Message, TextPart

Placement = Literal["before_instruction", "system"]
Conversation = list[dict[str, Any]]

_REPLACEMENT = "\ufffd"


@dataclass(frozen=True)
class Marks:
    """Characters that open and close the two spans; all empty for the plain prompt."""

    prefix_open: str = ""
    prefix_close: str = ""
    instruction_open: str = ""
    instruction_close: str = ""


PLAIN = Marks()
# Private-use characters of plane 16: no font, tokenizer or chat template gives them a meaning.
MARKED = Marks("\U0010f8c0", "\U0010f8c1", "\U0010f8c2", "\U0010f8c3")
SENTINELS = frozenset(
    {
        MARKED.prefix_open,
        MARKED.prefix_close,
        MARKED.instruction_open,
        MARKED.instruction_close,
    }
)


def neutralise(text: str, control_tokens: Iterable[str]) -> str:
    """Break every control token and span mark inside foreign text, leaving it readable.

    A control token such as `<image>` becomes `< image>`; a control token of one character, and a
    span mark, become U+FFFD. Repeated until none is left, because breaking one token can join
    the halves of another.

    Raises:
        MessageError: the text cannot be freed of control tokens.
    """
    for mark in SENTINELS:
        text = text.replace(mark, _REPLACEMENT)
    tokens = sorted((t for t in set(control_tokens) if t.strip()), key=len, reverse=True)
    for _ in range(len(tokens) + 1):
        found = [token for token in tokens if token in text]
        if not found:
            return text
        for token in found:
            broken = f"{token[0]} {token[1:]}" if len(token) > 1 else _REPLACEMENT
            text = text.replace(token, broken)
    raise MessageError(
        "A text contains control tokens of the model that cannot be taken apart.",
        remedy="Remove the model's special tokens from the text.",
    )


def neutralised(value: Any, control_tokens: Iterable[str]) -> Any:
    """Plain JSON values with every string in them neutralised; errors are those of `neutralise`."""
    tokens = tuple(control_tokens)
    if isinstance(value, str):
        return neutralise(value, tokens)
    if isinstance(value, Mapping):
        return {neutralised(k, tokens): neutralised(v, tokens) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [neutralised(item, tokens) for item in value]
    return value


def check_prefix(text: str, control_tokens: Iterable[str]) -> str:
    """The safety prefix without surrounding white space.

    Raises:
        ConfigError: it is empty, or contains a control token of the model.
    """
    stripped = text.strip()
    if not stripped:
        raise ConfigError(
            "The safety prefix is empty.",
            remedy="Give prefix.text some words, or generate with prefix=False.",
        )
    if neutralise(stripped, control_tokens) != stripped:
        raise ConfigError(
            "The safety prefix contains a control token of the model or a private-use mark.",
            remedy="Write prefix.text in plain words.",
        )
    return stripped


def instruction_message(messages: Sequence[Message]) -> int:
    """Index of the message that holds the instruction: the last one of the user.

    Raises:
        MessageError: there is none.
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
    marks: Marks = PLAIN,
) -> Conversation:
    """Messages as a chat template reads them, with the prefix in place and the spans marked.

    The instruction is all text of the last user message. Images become `{"type": "image"}`
    placeholders and keep their position.

    Raises:
        MessageError: no user message, or text that cannot be neutralised.
    """
    tokens = tuple(control_tokens)
    target = instruction_message(messages)
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


def _mark_instruction(text: str, marks: Marks) -> str:
    # The marks hug the words: a template that trims must see the same outer white space as before.
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
