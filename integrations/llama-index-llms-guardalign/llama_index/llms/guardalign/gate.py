"""The gate in front of another LLM: cleans a conversation and decides who answers it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.llms.llm import LLM

from guardalign_middleware import GuardedStream
from guardalign_middleware.errors import MessageError
from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.handling import OnBlocked, OnRefused
from guardalign_middleware.replies import GuardedReply
from guardalign_middleware.sent_turns import Refusals
from llama_index.llms.guardalign.events import GuardedCall
from llama_index.llms.guardalign.images import Resolver
from llama_index.llms.guardalign.passes import Passes, drawn
from llama_index.llms.guardalign.report import Report
from llama_index.llms.guardalign.turns import Turns


@dataclass(frozen=True)
class Admitted:
    """A conversation after the guard.

    Attributes:
        target: answers the call: the LLM, or the guard itself if an image is blocked.
        messages: with cleaned images; a notice replaces a blocked image.
        kwargs: of the call to the target.
        report: the verdicts as plain JSON values, without pixels.
    """

    target: LLM | GuardedCall
    messages: list[ChatMessage]
    kwargs: dict[str, Any]
    report: Report

    @property
    def blocked(self) -> bool:
        """Whether the LLM must not be called."""
        return isinstance(self.target, GuardedCall)

    @property
    def prompt(self) -> str:
        """The words of the first message, for an LLM that does not chat."""
        return self.messages[0].content or ""


@dataclass(frozen=True)
class AdmittedTurn:
    """`Admitted` for the two arguments in which tool callers pass a conversation."""

    call: Admitted
    user_msg: str | ChatMessage | None
    history: list[ChatMessage] | None


@dataclass(frozen=True)
class Gate:
    """Guards the conversations of one LLM.

    Attributes:
        outer: the LLM that the user calls; its listeners get the event of a blocked image.
        inner: the LLM that answers.
        guard: scans and cleans; loaded for the first image.
        resolve: reads one image.
        allow_unscanned: whether videos and documents pass.
        on_refused, on_blocked: what happens where the user has just sent an input.
        refusals: inputs for which the user already got an error or a reply.
    """

    outer: LLM
    inner: LLM
    guard: LazyGuard
    resolve: Resolver
    allow_unscanned: bool
    on_refused: OnRefused
    on_blocked: OnBlocked
    refusals: Refusals

    def admit(self, messages: Iterable[ChatMessage], kwargs: dict[str, Any]) -> Admitted:
        """Clean every image of a conversation and its words; the messages stay unchanged.

        What cannot be checked raises where the user has just sent it and `on_refused` says so;
        everywhere else a notice stands in its place.

        Raises:
            ImageRejected: an image that the intake policy does not accept.
            MessageError: an unknown block, or one that cannot be scanned.
            GuardError: a fault while guarding.
        """
        if loose := {"images", "image_documents"} & set(kwargs):
            raise MessageError(
                f"The guard does not scan the keyword {min(loose)!r}.",
                remedy="Put the images into the messages, as ImageBlocks.",
            )
        turns = Turns(
            drawn(messages, self.resolve), self.on_refused, self.on_blocked, self.refusals
        )
        cleaned = Passes(turns, self.resolve, self.allow_unscanned).clean(self.guard)
        finder, images, shown = cleaned.finder, cleaned.images, cleaned.messages
        # What the LLM sees first, then what stands in words.
        found = finder.found
        order = sorted(range(len(images)), key=lambda index: found[index].in_words)
        verdicts = tuple(images[index].verdict for index in order)
        report: Report = {"verdicts": [verdict.to_json() for verdict in verdicts]}
        if finder.unseen:
            report["unscanned"] = finder.unseen
        if refused := finder.refused:
            report["refused"] = refused
        blocked = [
            (slot.turn, item.original.sha256)
            for slot, item in zip(found, images, strict=True)
            # A blocked picture in words is a notice: the LLM would not have seen it.
            if item.image is None and not slot.in_words
        ]
        if turns.answers(blocked):
            reply = GuardedReply.blocked(
                self.guard.config.blocked_reply,
                verdicts,
                self.inner.metadata.model_name,
            )
            target = GuardedCall(
                self.outer,
                shown,
                reply=lambda: reply,
                areply=partial(_known, reply),
                stream_reply=lambda: GuardedStream(None, lambda: reply),
                limited=False,
            )
            return Admitted(target, shown, {}, report | reply.to_json())
        return Admitted(self.inner, shown, kwargs, report)

    def admit_turn(
        self,
        user_msg: str | ChatMessage | None,
        chat_history: Sequence[ChatMessage] | None,
        kwargs: dict[str, Any],
    ) -> AdmittedTurn:
        """`admit` for a last message, which may be bare text, and the messages before it."""
        history = list(chat_history or ())
        last = [user_msg] if isinstance(user_msg, ChatMessage) else []
        if isinstance(user_msg, str):
            last = [ChatMessage(user_msg, role=MessageRole.USER)]
        call = self.admit([*history, *last], kwargs)
        kept = None if chat_history is None else call.messages[: len(history)]
        if isinstance(user_msg, str):
            return AdmittedTurn(call, call.messages[-1].content, kept)
        return AdmittedTurn(call, call.messages[-1] if last else None, kept)


async def _known(reply: GuardedReply) -> GuardedReply:
    return reply
