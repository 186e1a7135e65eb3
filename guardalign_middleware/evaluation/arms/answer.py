"""What an arm answers, and how it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from pydantic import JsonValue

from guardalign_middleware.replies import FinishReason, Generated, GuardedReply
from guardalign_middleware.types import Message

Asked = tuple[Message, ...]
"""One conversation, its pictures decoded."""


@dataclass(frozen=True)
class Answered:
    """The answer of one arm to one conversation.

    Attributes:
        text: the answer; for a blocked picture, the preset's blocked reply.
        finish_reason: why it ended.
        calls: how often the model was called.
        input_tokens, output_tokens: of all these calls together.
        detail: what the arm did, in words of its own: "flagged", "rewritten".
    """

    text: str
    finish_reason: FinishReason
    calls: int
    input_tokens: int
    output_tokens: int
    detail: Mapping[str, JsonValue] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, reply: Generated | GuardedReply, **detail: JsonValue) -> Answered:
        """The answer that took one call, or none if a picture was blocked."""
        return cls(
            reply.text,
            reply.finish_reason,
            0 if reply.finish_reason == "blocked" else 1,
            reply.usage.input_tokens,
            reply.usage.output_tokens,
            MappingProxyType(detail),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**vars(self), "detail": dict(self.detail)}


class Arm(Protocol):
    """One way to answer: a defence, or none."""

    @property
    def scans(self) -> bool:
        """Whether the guard scans the pictures, so that their scans belong to its cost."""

    def answer(self, asked: Sequence[Asked]) -> list[Answered]:
        """Answer several conversations; each answer is the one it would get alone.

        Raises:
            GuardAlignError: one cannot be answered; then none is.
        """


def instruction(asked: Asked) -> str:
    """The words of the last user's turn."""
    return next(message.text for message in reversed(asked) if message.role == "user")
