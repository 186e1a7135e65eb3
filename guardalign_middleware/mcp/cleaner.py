"""The cleaner of MCP's messages, and what becomes of what it cannot show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from guardalign_middleware import notices
from guardalign_middleware.cleaning.cleaner import ImageCleaner
from guardalign_middleware.cleaning.groups import ToldWith
from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.handling import (
    ON_UNSAFE_SENT,
    OnRefused,
    OnUnsafeSent,
    check_option,
    check_sent_options,
)
from guardalign_middleware.intake.found_images import FoundImage, Replacement, in_order, listing
from guardalign_middleware.intake.request import Sizes
from guardalign_middleware.intake.said import said_in
from guardalign_middleware.mcp.walk import McpWalk

_REMEMBERED = 256


@dataclass(frozen=True)
class Handling:
    """What happens to pictures that are unsafe, and to what cannot be looked at.

    Attributes:
        on_unsafe: "mask" shows the cleaned picture, or a notice where nothing may be shown;
            "notice" always shows the notice; "block" puts a JSON-RPC error in the place of the
            whole message.
        on_refused: "notice" puts a text in the place of what cannot be looked at; "raise" an error
            in the place of the whole message.
        allow_unscanned: whether films and files of unknown kinds pass unseen.

    Raises:
        ConfigError: another value.
    """

    on_unsafe: OnUnsafeSent = "mask"
    on_refused: OnRefused = "notice"
    allow_unscanned: bool = False

    def __post_init__(self) -> None:
        check_option("on_unsafe", self.on_unsafe, ON_UNSAFE_SENT)
        check_sent_options(self.on_refused)


class McpCleaner(ImageCleaner):
    """Cleans the pictures of one message at a time; threads may share it.

    Args:
        guard: scans and cleans.
        handling: what happens to unsafe pictures, and to what cannot be looked at.
    """

    def __init__(self, guard: LazyGuard, handling: Handling) -> None:
        super().__init__(
            guard, handling.on_unsafe, notices.UNSAFE, _REMEMBERED, handling.allow_unscanned
        )
        self._handling = handling

    def __reduce__(self) -> tuple[type[McpCleaner], tuple[Any, ...]]:
        return type(self), (self.guard, self._handling)

    def _find(self, value: Any, place: str, sizes: Sizes) -> tuple[list[FoundImage], Any]:
        # Texts are passed on to a program here, not read by a model: they are not counted.
        return found_in(value), value

    def _told_with(self, value: Any, place: str) -> ToldWith:
        # The model gets one message at once, so its pictures and texts are one turn.
        said = "\n".join(said_in(part) for part in _contents(value))
        return lambda _: (0, said)

    def _put(self, value: Any, replacements: Sequence[Replacement], place: str) -> Any:
        with in_order(replacements) as following:
            return McpWalk(lambda _: following()).message(value)


def _contents(message: Any) -> Iterator[Any]:
    """The contents of a tool's result, of a prompt's turns, and of a sampling request's."""
    for name in ("result", "params"):
        payload = message.get(name) if isinstance(message, dict) else None
        if isinstance(payload, dict):
            turns = payload.get("messages")
            for each in (payload, *(turns if isinstance(turns, list) else ())):
                if isinstance(each, dict) and "content" in each:
                    yield each["content"]


def found_in(message: Any) -> list[FoundImage]:
    """Everything in a message that is a picture, could be one, or cannot be looked at."""
    found: list[FoundImage] = []
    McpWalk(listing(found)).message(message)
    return found
