"""Which messages of a conversation the user has just sent, and what was refused there before."""

from __future__ import annotations

from collections.abc import Iterable

from llama_index.core.base.llms.types import ChatMessage

from guardalign_middleware.handling import OnBlocked, OnRefused
from guardalign_middleware.intake.messages import ROLES
from guardalign_middleware.sent_turns import Refusals, SentTurns, digest_of
from guardalign_middleware.verdict_records import METADATA_KEY


class Turns:
    """What the two options say about each input of one conversation.

    Args:
        messages: any iterable of messages; read once.
        on_refused, on_blocked: what happens where the user has just sent an input.
        refusals: inputs for which the user already got an error or a reply.
    """

    def __init__(
        self,
        messages: Iterable[ChatMessage],
        on_refused: OnRefused,
        on_blocked: OnBlocked,
        refusals: Refusals,
    ) -> None:
        self.messages = list(messages)
        self._on_refused = on_refused
        self._on_blocked = on_blocked
        roles = [ROLES.get(message.role.value, "") for message in self.messages]
        last = self.messages[-1] if self.messages else None
        self._sent = SentTurns(roles, last, refusals)

    def raises(self, digest: str, turn: int | None) -> bool:
        """Whether the user hears of a refusal: of what was just sent, and not told before.

        Args:
            digest: recognizes the input.
            turn: position of its message.
        """
        return self._on_refused == "raise" and self._sent.is_new(digest, turn)

    def answers(self, blocked: Iterable[tuple[int | None, str]]) -> bool:
        """Whether the guard replies itself, because an image that was just sent is blocked.

        Args:
            blocked: position of the message and digest of each blocked image.
        """
        if self._on_blocked == "notice":
            return False
        recorded = (
            (turn, digest_of(message))
            for turn, message in enumerate(self.messages)
            if self.is_sent(turn) and was_blocked(message)
        )
        return any([self._sent.is_new(digest, turn) for turn, digest in (*blocked, *recorded)])

    def is_sent(self, turn: int | None) -> bool:
        """Whether the user has just sent the message at this position."""
        return self._sent.is_sent(turn)


def was_blocked(message: ChatMessage) -> bool:
    """Whether a guarded memory has replaced a blocked image of this message by a notice."""
    record = message.additional_kwargs.get(METADATA_KEY)
    return isinstance(record, dict) and record.get("decision") == "block"
