"""Which messages of a conversation the user has just sent, and what was refused there before."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Self

from llama_index.core.base.llms.types import ChatMessage, MessageRole

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


class Refusals:
    """Inputs for which the user already got an error or a reply; the latest 4096 of them.

    A memory or a workflow keeps a message although its run failed. The next message then follows
    it directly, so both look as if they had just been sent, and without this every later run would
    fail as well. Copies share it; a pickle holds nothing.
    """

    def __init__(self) -> None:
        self._keys: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: str) -> bool:
        with self._lock:
            return key in self._keys

    def add(self, key: str) -> None:
        """Remember an input by its digest."""
        with self._lock:
            self._keys[key] = None
            self._keys.move_to_end(key)
            if len(self._keys) > _MOST:
                self._keys.popitem(last=False)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()
