"""Which messages of a value the user has just sent, and which are one turn.

A refused or blocked image ends a call only if it is among these. A later call finds it in an older
turn and goes on with a notice in its place.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from pydantic import BaseModel

from guardalign_middleware import sent_turns
from guardalign_middleware.cache import BoundedCache
from guardalign_middleware.cleaning.groups import Told, ToldWith
from guardalign_middleware.cleaning.outcomes import Outcome
from guardalign_middleware.intake.found_images import FoundImage
from guardalign_middleware.intake.said import said_in
from guardalign_middleware.turns import Spoken
from langchain_guardalign.role_content import role_of

_REMEMBERED = 1024


def first_sent(messages: Sequence[BaseMessage]) -> int:
    """The index of the first message that the user has just sent, by the core's rule."""
    return sent_turns.first_sent([role_of(message) or "" for message in messages])


class EndedTurns:
    """Messages that ended a call with an error, so that they do not end the next one too.

    An agent keeps the user's message in its thread although its model raised an error. The user's
    next message then follows without an answer between the two. Threads may share it.
    """

    def __init__(self) -> None:
        self._ended: BoundedCache[bool] = BoundedCache(_REMEMBERED)

    def __reduce__(self) -> tuple[type[EndedTurns], tuple[()]]:
        return type(self), ()

    def remember(self, messages: Sequence[BaseMessage]) -> None:
        """Remember that exactly these messages of the user ended a call."""
        *_, key = _digests(messages)
        self._ended.put(key, True)

    def ended(self, messages: Sequence[BaseMessage]) -> int:
        """How many of the first of these messages ended a call before; never all of them."""
        ended = 0
        for number, key in enumerate(_digests(messages[:-1]), 1):
            if self._ended.get(key):
                ended = number
        return ended


class Sent:
    """The part of a value that the user has just sent.

    Args:
        value: an input of the guard.
        place: the name of the value in places.
        ended: what ended an earlier call counts as an older turn.
    """

    def __init__(self, value: object, place: str, ended: EndedTurns) -> None:
        self._ended = ended
        self._lists = dict(_message_lists(value, place))
        self._first = {root: first_sent(messages) for root, messages in self._lists.items()}

    def __call__(self, outcome: Outcome) -> bool:
        """Whether an image belongs to it, as everything outside messages does."""
        root = self._root(outcome)
        if root is None:
            return outcome.turn is None
        return (outcome.turn or 0) >= self._first[root]

    def without_ended(self, outcomes: Sequence[Outcome]) -> None:
        """Leave out what ended an earlier call, if one of these images could end this one too."""
        for root in {self._root(each) for each in outcomes if self(each)} - {None}:
            messages = self._lists[str(root)]
            first = self._first[str(root)]
            self._first[str(root)] = first + self._ended.ended(messages[first:])

    def remember(self, outcomes: Sequence[Outcome]) -> None:
        """Remember that these images ended this call."""
        for root in {self._root(each) for each in outcomes if self(each)} - {None}:
            messages = self._lists[str(root)]
            self._ended.remember(messages[first_sent(messages) :])

    def _root(self, outcome: Outcome) -> str | None:
        return _root(self._lists, outcome)


def told_with(value: object, place: str) -> ToldWith:
    """What says in which turn of a value an image is, and what is said there.

    Args:
        value: an input of the guard.
        place: the name of the value in places.
    """
    lists = dict(_message_lists(value, place))
    spoken = {root: _spoken(messages) for root, messages in lists.items()}

    def told(found: FoundImage) -> Told | None:
        root = _root(lists, found)
        if root is None or found.turn is None or found.turn >= len(lists[root]):
            return None
        turn = spoken[root].number(found.turn)
        return (root, turn), spoken[root].said(found.turn)

    return told


def _spoken(messages: Sequence[BaseMessage]) -> Spoken:
    roles = [role_of(message) or "" for message in messages]
    return Spoken(roles, lambda index: said_in(messages[index].content))


def _root(lists: Iterable[str], found: Outcome | FoundImage) -> str | None:
    """The place of the list of messages in which an image is."""
    if found.turn is None:
        return None
    for root in lists:
        if found.place.startswith((f"{root}[{found.turn}]", f"{root}.")):
            return root
    return None


def _message_lists(value: object, place: str) -> Iterator[tuple[str, Sequence[BaseMessage]]]:
    """The lists of messages in an input, each with its place; a single message is one too."""
    if isinstance(value, BaseMessage):
        yield place, [value]
    elif isinstance(value, list | tuple):
        if value and all(isinstance(item, BaseMessage) for item in value):
            yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _message_lists(item, f"{place}.{key}")
    elif isinstance(value, BaseModel):
        yield from _message_lists(value.__dict__, place)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        # Some have slots.
        fields = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        yield from _message_lists(fields, place)


def _digests(messages: Sequence[Any]) -> Iterator[str]:
    """A key of the first message, of the first two, and so on."""
    digest = hashlib.sha256()
    for message in messages:
        said = (message.type, message.id, message.content, message.additional_kwargs)
        digest.update(sent_turns.digest_of(said).encode())
        yield digest.hexdigest()
