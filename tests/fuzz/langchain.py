"""LangChain messages: every image is found, in any dialect, or the message is refused."""

from __future__ import annotations

from random import Random
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from pydantic import ValidationError

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.intake.found_images import Replacement
from guardalign_middleware.intake.messages import parse_messages
from langchain_guardalign.message_walk import find_images, put_images
from langchain_guardalign.role_content import to_role_content
from tests.fuzz.conversations import bend, some_block, some_content, some_value
from tests.fuzz.targets import typed

_NOTE = Replacement(note="[image removed]", record={"decision": "block"})
_POLICY = IntakePolicy(max_pixels=20_000)


def make_langchain(random: Random) -> list[BaseMessage] | None:
    """One or two messages with images in any field; None if LangChain itself refuses them."""
    try:
        return [_message(random) for _ in range(random.randint(1, 2))]
    except (ValidationError, TypeError, ValueError, AttributeError, RecursionError):
        return None


def check_langchain(messages: list[BaseMessage] | None) -> str:
    """All images are found and can be replaced one by one; none is left once they are removed."""
    if messages is None:
        return "refused by LangChain"
    found = find_images(messages)
    removed = put_images(messages, [_NOTE] * len(found))
    # A block with a notice in the place of its bytes cannot be read; that is refused, not left.
    left = [image for image in find_images(removed) if image.refused is None]
    assert not left, "an image is left after all were removed"
    refused = next((image.refused for image in found if image.refused is not None), None)
    try:
        if refused is not None:
            raise refused
        parse_messages(to_role_content(messages), _POLICY)
    except GuardAlignError as error:
        return typed(error)
    return f"accepted with {min(len(found), 2)} images"


def _message(random: Random) -> BaseMessage:
    content = some_content(random)
    kind = random.randrange(6)
    if kind == 0:
        return SystemMessage(content)
    if kind == 1:
        return AIMessage(content, tool_calls=[_call(random)])
    if kind == 2:
        return ToolMessage(content, tool_call_id="1", artifact=some_value(random))
    if kind == 3:
        return ChatMessage(content, role=random.choice(("user", "developer", "x")))
    if kind == 4:
        return HumanMessage(content, additional_kwargs={"attachments": [some_block(random)]})
    return HumanMessage(content)


def _call(random: Random) -> Any:
    # Providers send arguments as JSON text.
    args = {"it": random.choice(("words", 1, None, [], {"deep": [1.5]}))}
    call = {"name": "see", "args": args, "id": "1"}
    return bend(random, call) if random.random() < 0.1 else call
