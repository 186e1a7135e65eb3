"""Which messages of a conversation the user has just sent, and what was refused there before."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Self

from llama_index.core.base.llms.types import ChatMessage, MessageRole

from guardalign_middleware.handling import OnBlocked, OnRefused
from guardalign_middleware.verdict_records import METADATA_KEY
from llama_index.llms.guardalign.visitors import digest_of

_SENT_ROLES = (MessageRole.USER, MessageRole.SYSTEM, MessageRole.DEVELOPER)
_MOST = 4096


def just_sent(messages: Sequence[ChatMessage]) -> int:
    """Index of the first message that the user has just sent; their number if there is none.

    These are the user's and the system's messages after the last answer or tool result.
    """
    start = len(messages)
    while start and messages[start - 1].role in _SENT_ROLES:
        start -= 1
    return start


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
        self._refusals = refusals
        self._start = just_sent(self.messages)

    def raises(self, digest: str, turn: int | None) -> bool:
        """Whether the user hears of a refusal: of what was just sent, and not told before.

        Args:
            digest: recognizes the input.
            turn: position of its message.
        """
        return self._on_refused == "raise" and self._is_new(digest, turn)

    def answers(self, blocked: Iterable[tuple[int | None, str]]) -> bool:
        """Whether the guard replies itself, because an image that was just sent is blocked.

        Args:
            blocked: position of the message and digest of each blocked image.
        """
        if self._on_blocked == "notice":
            return False
        recorded = ((t, digest_of(m)) for t, m in enumerate(self.messages) if was_blocked(m))
        return any([self._is_new(digest, turn) for turn, digest in (*blocked, *recorded)])

    def is_sent(self, turn: int | None) -> bool:
        """Whether the user has just sent the message at this position."""
        return turn is not None and turn >= self._start

    def _is_new(self, digest: str, turn: int | None) -> bool:
        if turn is None or not self.is_sent(turn):
            return False
        # The same conversation gets the same answer again; one that has gone on does not.
        asked = f"{len(self.messages)} {digest_of(self.messages[-1])}"
        told = self._refusals.told(digest, asked)
        return turn == len(self.messages) - 1 or told == asked


def was_blocked(message: ChatMessage) -> bool:
    """Whether a guarded memory has replaced a blocked image of this message by a notice."""
    record = message.additional_kwargs.get(METADATA_KEY)
    return isinstance(record, dict) and record.get("decision") == "block"


class Refusals:
    """Inputs for which the user already got an error or a reply; the latest 4096 of them.

    A memory or a workflow keeps a message although its run failed. The next message then follows
    it directly, so both look as if they had just been sent, and without this every later run would
    fail as well. Copies share it; a pickle holds nothing.
    """

    def __init__(self) -> None:
        self._asked: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def told(self, digest: str, asked: str) -> str:
        """In which conversation the user was told first; now, if not before.

        Args:
            digest: recognizes the input.
            asked: recognizes the conversation.
        """
        with self._lock:
            first = self._asked.setdefault(digest, asked)
            self._asked.move_to_end(digest)
            if len(self._asked) > _MOST:
                self._asked.popitem(last=False)
            return first

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()
