"""The error of this package: `ImageBlocked`. All others are the core's."""

from __future__ import annotations

from typing import Any

from guardalign_middleware.errors import GuardAlignError


class ImageBlocked(GuardAlignError, ValueError):
    """An image is blocked where an object of a schema is expected, so no reply can be given.

    This is the guard's answer rather than a fault, so it is not a `GuardError`. It is a ValueError
    because LlamaIndex raises one if an LLM gives no object.

    Attributes:
        report: the verdicts as plain JSON values, as in `additional_kwargs["guardalign"]`.
    """

    def __init__(self, reply: str, report: dict[str, Any]) -> None:
        super().__init__(
            f"An image is blocked, and the LLM was not asked: {reply}",
            remedy='Show the reply to the user, or construct with on_blocked="notice".',
        )
        self.report = report
