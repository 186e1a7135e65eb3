"""The three dialects of requests: their walks, and who speaks in each turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from guardalign_middleware.conversation.anthropic_messages import MessagesWalk
from guardalign_middleware.conversation.openai_chat import ChatWalk
from guardalign_middleware.conversation.openai_responses import ResponsesWalk
from guardalign_middleware.conversation.walk import Body, ConversationWalk
from guardalign_middleware.intake.messages import ROLES, holds_results
from guardalign_middleware.intake.part import block_type
from guardalign_middleware.intake.said import said_in

DialectName = Literal["chat", "responses", "messages"]


def _said(turn: Any) -> str:
    if isinstance(turn, Mapping) and block_type(turn) is None:
        return said_in(turn.get("content"))
    return said_in(turn)


@dataclass(frozen=True)
class Dialect:
    """How requests are written.

    Attributes:
        name: that of the endpoint, as in `/v1/responses`.
        walk: finds and replaces pictures.
        sender: the core's role of one turn; "" for an unknown one.
        said: what one turn says, in the words that a model reads.
    """

    name: DialectName
    walk: type[ConversationWalk]
    sender: Callable[[Any], str]
    said: Callable[[Any], str] = _said

    def turns(self, body: Body) -> Sequence[Any]:
        """The turns of the conversation; a text by itself is one."""
        turns = body.get(self.walk.turns_key)
        if isinstance(turns, list):
            return turns
        return [] if turns is None else [{"role": "user", "content": turns}]

    def senders(self, body: Body) -> list[str]:
        """The core's role of each turn."""
        return [self.sender(turn) for turn in self.turns(body)]


def _role(turn: Any) -> str:
    role = turn.get("role") if isinstance(turn, Mapping) else None
    return ROLES.get(role, "") if isinstance(role, str) else ""


def _of_item(item: Any) -> str:
    """Items without a role are calls of an assistant, or what tools returned."""
    if _role(item) or not isinstance(item, Mapping):
        return _role(item)
    return "tool" if (block_type(item) or "").endswith("_output") else "assistant"


def _of_message(message: Any) -> str:
    """Results of tools come as the user's messages."""
    results = isinstance(message, Mapping) and holds_results(message.get("content"))
    return "tool" if results else _role(message)


CHAT = Dialect("chat", ChatWalk, _role)
RESPONSES = Dialect("responses", ResponsesWalk, _of_item)
MESSAGES = Dialect("messages", MessagesWalk, _of_message)
DIALECTS: Mapping[DialectName, Dialect] = {each.name: each for each in (CHAT, RESPONSES, MESSAGES)}


def dialect_of(body: Body) -> Dialect:
    """The dialect of a body that does not say; chat where all of it would be the same."""
    if RESPONSES.walk.turns_key in body:
        return RESPONSES
    results = any(_of_message(turn) == "tool" for turn in MESSAGES.turns(body) if _role(turn))
    own_role = any(_role(turn) == "tool" for turn in MESSAGES.turns(body))
    return MESSAGES if "system" in body or (results and not own_role) else CHAT
