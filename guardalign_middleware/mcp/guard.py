"""What the guard makes of each message: passed on, cleaned, answered with an error, or left out."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from guardalign_middleware.cleaning.outcomes import Cleaned
from guardalign_middleware.errors import GuardAlignError, GuardError, MessageError
from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.mcp.cleaner import Handling, McpCleaner, found_in
from guardalign_middleware.mcp.messages import (
    FAULT,
    WITHHELD,
    Frame,
    error_for,
    fault_data,
    has_json,
    kind_of,
    to_bytes,
)
from guardalign_middleware.scan_threads import in_scan_thread

if TYPE_CHECKING:
    from guardalign_middleware.handles import AnyGuard

Sender = Literal["server", "client"]
_LOGGER = logging.getLogger(__name__)
# Parsing larger ones takes long enough to be felt by others.
_LARGE = 65_536


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame that was looked at, before any picture is decoded.

    Attributes:
        frame: what it says.
        pictures: the messages with something to clean, by their index.
    """

    frame: Frame
    pictures: frozenset[int] = frozenset()


@dataclass(frozen=True, eq=False)
class Passed:
    """What goes on from a frame.

    Attributes:
        forward: the bytes for the receiver; None if there is nothing for it.
        replies: errors for the sender, whose requests went no further.
    """

    forward: bytes | None
    replies: tuple[bytes, ...] = ()


@dataclass(eq=False)
class _Result:
    messages: list[Any] = field(default_factory=list)
    replies: list[bytes] = field(default_factory=list)


class MessageGuard:
    """Cleans what servers send, and what clients answer; threads may share it.

    Requests and notifications of clients are passed on unread: no model of the client sees them.

    Args:
        make: makes the guard; called once, in a thread, for the first picture or by `load`.
        handling: what happens to unsafe pictures, and to what cannot be looked at.
    """

    def __init__(self, make: Callable[[], LazyGuard], handling: Handling | None = None) -> None:
        self._make = make
        self._handling = handling or Handling()
        self._cleaner: McpCleaner | None = None
        self._lock = threading.Lock()

    @classmethod
    def of(cls, guard: AnyGuard, handling: Handling | None = None) -> MessageGuard:
        """With a guard that is loaded, or in another process."""
        return cls(lambda: LazyGuard(guard=guard), handling)

    def load(self) -> None:
        """Load the guard's models, or ask the other process for its settings.

        Raises:
            GuardAlignError: it cannot be used.
        """
        self._loaded().guard.get()

    async def look(self, raw: bytes, sender: Sender) -> Seen:
        """Parse a frame and find its pictures; a large one in a thread."""
        if len(raw) < _LARGE:
            return self._look(raw, sender)
        return await asyncio.to_thread(self._look, raw, sender)

    async def clean(self, seen: Seen) -> Passed:
        """Clean the pictures of a frame; a task that is cancelled gives up its turn."""
        if not seen.pictures:
            return _written(seen.frame, _Result([*seen.frame.messages]))
        return await in_scan_thread(self._clean, seen)

    def _look(self, raw: bytes, sender: Sender) -> Seen:
        frame = Frame.read(raw)
        if sender == "client":
            return Seen(frame, frozenset(_which(frame, _is_sampled)))
        return Seen(frame, frozenset(_which(frame, lambda message: True)))

    def _clean(self, seen: Seen) -> Passed:
        result = _Result()
        for index, message in enumerate(seen.frame.messages):
            if index in seen.pictures:
                self._clean_message(message, result)
            else:
                result.messages.append(message)
        return _written(seen.frame, result)

    def _clean_message(self, message: Any, result: _Result) -> None:
        try:
            cleaned = self._loaded().clean(message, "message")
        except GuardAlignError as error:
            _LOGGER.error("Nothing was passed on: %s", type(error).__name__)
            code = FAULT if isinstance(error, GuardError) else WITHHELD
            text = f"GuardAlign passed nothing on: {error.message}"
            _instead(message, error_for(message, code, text, fault_data(error)), result)
            return
        _report(cleaned)
        error_data = self._withheld(cleaned)
        if error_data is None:
            result.messages.append(cleaned.value)
            return
        text, data = error_data
        _instead(message, error_for(message, WITHHELD, text, data), result)

    def _withheld(self, cleaned: Cleaned) -> tuple[str, dict[str, Any]] | None:
        """Why the whole message may not be passed on, if that is so."""
        if self._handling.on_refused == "raise":
            refusal = cleaned.refusal(lambda outcome: True)
            if refusal is not None:
                return f"GuardAlign passed nothing on: {refusal.message}", fault_data(refusal)
        if self._handling.on_unsafe == "block":
            # Pictures among words as well: a program reads them, too.
            if flagged := cleaned.flagged:
                records = [{"decision": "block", "category": each.category} for each in flagged]
                return "GuardAlign found a picture unsafe.", {"verdicts": records}
        return None

    def _loaded(self) -> McpCleaner:
        with self._lock:
            if self._cleaner is None:
                self._cleaner = McpCleaner(self._make(), self._handling)
            return self._cleaner


def _which(frame: Frame, concerns: Callable[[Any], bool]) -> list[int]:
    messages = enumerate(frame.messages)
    return [index for index, message in messages if concerns(message) and found_in(message)]


def _is_sampled(message: Any) -> bool:
    """Whether a client's message is what its model has said; the server may show it to another."""
    if kind_of(message) != "response":
        return False
    result = message.get("result")
    return isinstance(result, dict) and (
        "role" in result or isinstance(result.get("content"), list)
    )


def _instead(message: Any, error: dict[str, Any], result: _Result) -> None:
    """Put an error where it is expected: a response goes on, a request is answered."""
    kind = kind_of(message)
    if kind == "response":
        result.messages.append(error)
    elif kind == "request":
        result.replies.append(to_bytes(error))
    else:
        _LOGGER.warning("A notification was left out, because of a picture in it.")


def _written(frame: Frame, result: _Result) -> Passed:
    replies = tuple(result.replies)
    if not frame.messages:
        if frame.batch or frame.is_plain:
            return Passed(frame.raw, replies)
        _LOGGER.warning("What is no message was left out: it could be a part of one.")
    if not result.messages:
        return Passed(None, replies)
    try:
        return Passed(frame.written(tuple(result.messages)), replies)
    except (ValueError, RecursionError):
        return _without_wrong_numbers(frame, result)


def _without_wrong_numbers(frame: Frame, result: _Result) -> Passed:
    """An error in the place of each message with a number that Python cannot write."""
    error = MessageError(
        "The message has to be written anew, and holds a number that is no JSON.",
        remedy="Let the server send no NaN, no infinity and no number of thousands of digits.",
    )
    text = f"GuardAlign passed nothing on: {error.message}"
    kept = _Result(replies=result.replies)
    for message in result.messages:
        if has_json(message):
            kept.messages.append(message)
        else:
            _LOGGER.error("A message was not passed on: it holds a number that is no JSON.")
            _instead(message, error_for(message, WITHHELD, text, fault_data(error)), kept)
    forward = frame.written(tuple(kept.messages)) if kept.messages else None
    return Passed(forward, tuple(kept.replies))


def _report(cleaned: Cleaned) -> None:
    """Say what became of pictures; no name and no place is in it, because a server chose them."""
    for outcome in cleaned.outcomes:
        record = outcome.record
        if record["action"] != "none":
            what = record.get("category") or record.get("reason") or record.get("media")
            _LOGGER.info("A picture: %s (%s, %s)", record["decision"], record["action"], what)
