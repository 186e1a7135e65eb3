"""Which turns of a conversation the user has just sent, and what was refused there before.

The options of `handling.py` govern these turns only. The chain and the adapters share the rule.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Self

from pydantic import BaseModel

from guardalign_middleware.types import CanonicalImage, ImagePart

_SENT_ROLES = frozenset({"user", "system"})
_MOST = 4096


def first_sent(roles: Sequence[str]) -> int:
    """The position of the first turn that the user has just sent.

    These are the user's and the system's turns at the end; it is the number of turns if the last
    one is an answer or a tool's result.

    Args:
        roles: of all turns, as the core names them; "" for an unknown one.
    """
    first = len(roles)
    while first and roles[first - 1] in _SENT_ROLES:
        first -= 1
    return first


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
        """The conversation in which the user was first told of it; this one if not before.

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


class SentTurns:
    """The user's and the system's turns after the last answer or tool result.

    Args:
        roles: of all turns, as the core names them.
        last: the last message, by which the conversation is recognized.
        refusals: inputs for which the user already got an error or a reply.
    """

    def __init__(self, roles: Sequence[str], last: object, refusals: Refusals) -> None:
        self._count = len(roles)
        self._first = first_sent(roles)
        self._last = last
        self._refusals = refusals

    def is_sent(self, turn: int | None) -> bool:
        """Whether the user has just sent the turn at this position; None: it is in no turn."""
        return turn is not None and turn >= self._first

    def is_new(self, digest: str, turn: int | None) -> bool:
        """Whether the user has just sent an input and was not told of it before; remembers it.

        Args:
            digest: recognizes the input.
            turn: position of its message.
        """
        if not self.is_sent(turn):
            return False
        # The same conversation gets the same answer again; one that has gone on does not.
        told = self._refusals.told(digest, self._asked)
        return turn == self._count - 1 or told == self._asked

    @cached_property
    def _asked(self) -> str:
        """Recognizes the conversation."""
        return f"{self._count} {digest_of(self._last)}"


def digest_of(value: object) -> str:
    """Recognizes an input that was refused before; equal inputs have equal digests.

    The order of keys does not count, because some stores do not keep it.
    """
    digest = hashlib.sha256()
    try:
        _feed(digest.update, value)
    except (TypeError, ValueError, RecursionError, RuntimeError):
        digest.update(repr(type(value)).encode())
    return digest.hexdigest()


def _feed(update: Callable[[bytes | bytearray], None], value: object) -> None:
    """Piece by piece: written down at once, files would take many times their memory."""
    if isinstance(value, BaseModel):
        value = value.model_dump(warnings=False)
    elif isinstance(value, ImagePart):
        value = value.image
    if isinstance(value, CanonicalImage):
        value = value.sha256
    update(f"{type(value).__name__}:".encode())
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
            _feed(update, key)
            _feed(update, value[key])
        update(b"}")
    elif isinstance(value, list | tuple):
        for item in value:
            _feed(update, item)
        update(b"]")
    else:
        data = (
            value
            if isinstance(value, bytes | bytearray)
            else str(value).encode("utf-8", "surrogatepass")
        )
        update(f"{len(data)}:".encode())
        update(data)
