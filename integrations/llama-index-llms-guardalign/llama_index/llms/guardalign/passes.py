"""The two passes over a conversation: what holds a picture is read, scanned and shown again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llama_index.core.base.llms.types import ChatMessage

from guardalign_middleware.faults import memory_faults
from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.intake.messages import ROLES
from guardalign_middleware.intake.request import check_message_count
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.turns import Spoken, joins_words, sanitize_by_turn
from llama_index.llms.guardalign.admission import Measurer
from llama_index.llms.guardalign.blocks import MessageWalk
from llama_index.llms.guardalign.images import Resolver
from llama_index.llms.guardalign.pdf_pages import paged
from llama_index.llms.guardalign.turns import Turns
from llama_index.llms.guardalign.visitors import Finder, Visitor, showing


@dataclass(frozen=True)
class Cleaned:
    """A conversation after both passes.

    Attributes:
        messages: with cleaned images and notices.
        finder: what was found in them.
        images: the found pictures after the guard, in the order of `finder.found`.
    """

    messages: list[ChatMessage]
    finder: Finder
    images: Sequence[SanitizedImage]


@dataclass(frozen=True)
class Passes:
    """Cleans one conversation; its messages stay unchanged.

    Attributes:
        turns: the conversation, and what becomes of its refusals.
        resolve: reads one image.
        allow_unscanned: whether videos and documents pass.
    """

    turns: Turns
    resolve: Resolver
    allow_unscanned: bool

    def read(self) -> tuple[Finder, list[ChatMessage]]:
        """Find and read everything that has to be guarded.

        Returns:
            What was found, and the messages without the guard's records; their images are the old
            ones.

        Raises:
            ImageRejected, MessageError: what the user has just sent cannot be checked, or there
                are more messages or more text than a request may have.
        """
        check_message_count(len(self.turns.messages), self.resolve.policy)
        measurer = Measurer(self.resolve)
        with memory_faults("intake"):
            messages = measurer.measure(lambda: self._walk(measurer))
            finder = Finder(self.resolve, measurer.admission, self.turns.raises)
            if measurer.empty:
                # A second pass would find the same.
                return finder, messages
            return finder, finder.read(lambda: self._walk(finder))

    def clean(self, guard: LazyGuard) -> Cleaned:
        """The conversation with cleaned images; the guard is loaded for the first image.

        Raises:
            ImageRejected, MessageError: as for `read`.
            GuardError: a fault while guarding.
        """
        finder, messages = self.read()
        if finder.empty:
            # A second pass would return the same.
            return Cleaned(messages, finder, [])
        images = self._sanitized(finder, guard) if finder.pictures else []
        with showing(finder.slots, images) as shower:
            return Cleaned(self._walk(shower), finder, images)

    def _sanitized(self, finder: Finder, guard: LazyGuard) -> list[SanitizedImage]:
        if not joins_words(guard.config):
            return guard.get().sanitize_many(finder.pictures)
        messages, found = self.turns.messages, finder.found
        roles = [ROLES.get(message.role.value, "") for message in messages]
        spoken = Spoken(roles, lambda turn: messages[turn].content or "")
        # No model sees a picture among words.
        turns = [None if slot.in_words else slot.turn for slot in found]
        return sanitize_by_turn(
            guard.get(),
            finder.pictures,
            [None if turn is None else spoken.number(turn) for turn in turns],
            lambda index: spoken.said(found[index].turn or 0),
        )

    def _walk(self, visitor: Visitor) -> list[ChatMessage]:
        return _walked(self.turns.messages, visitor, self.resolve, self.allow_unscanned)


def drawn(messages: Iterable[ChatMessage], resolve: Resolver) -> list[ChatMessage]:
    """The messages with the pages of their PDF files, if they hold no more text than they may.

    Raises:
        MessageError: there are more messages or more text than a request may have, or blocks are
            nested too deeply.
        GuardError: no process can be started to draw the pages.
    """

    def measure(unread: Sequence[ChatMessage]) -> None:
        measurer = Measurer(resolve)
        measurer.measure(lambda: _walked(unread, measurer, resolve, True))

    return paged(messages, resolve, measure)


def _walked(
    messages: Sequence[ChatMessage], visitor: Visitor, resolve: Resolver, allow_unscanned: bool
) -> list[ChatMessage]:
    walk = MessageWalk(visitor, resolve, allow_unscanned=allow_unscanned)
    walked = []
    for index, message in enumerate(messages):
        visitor.turn = index
        walked.append(walk.message(message, index))
    return walked
