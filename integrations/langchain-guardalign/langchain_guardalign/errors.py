"""The errors of this package. All others are the core's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from langchain_core.exceptions import ContextOverflowError

from guardalign_middleware.errors import ContextOverflow, GuardAlignError
from guardalign_middleware.types import Verdict


class ImageBlocked(GuardAlignError):
    """An unsafe image was found, and no message is forwarded.

    This is the guard's answer rather than a fault, so it is not a `GuardError`.

    Attributes:
        verdicts: on the unsafe images, in reading order.
        reply: the preset's `blocked_reply`, to answer with.
    """

    def __init__(self, verdicts: Sequence[Verdict], *, remedy: str, reply: str = "") -> None:
        self.verdicts = tuple(verdicts)
        self.reply = reply
        found = ", ".join(sorted({verdict.category for verdict in self.verdicts}))
        count = len(self.verdicts)
        super().__init__(
            f"{count} unsafe image{'s' if count > 1 else ''} found ({found}).", remedy=remedy
        )


class PromptTooLong(ContextOverflow, ContextOverflowError):
    """The core's `ContextOverflow`, which LangChain knows as its own `ContextOverflowError`."""


@contextmanager
def langchain_errors() -> Iterator[None]:
    """Raise what LangChain has a class for as that class too.

    Raises:
        PromptTooLong: in place of a `ContextOverflow`.
    """
    try:
        yield
    except ContextOverflow as error:
        raise PromptTooLong(
            error.message, tokens=error.tokens, limit=error.limit, remedy=error.remedy
        ) from error
