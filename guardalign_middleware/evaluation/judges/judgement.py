"""What a judge says of an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from guardalign_middleware.evaluation.suites.manifest import Item

Label = Literal["safe", "unsafe", "refusal", "compliance", "unparsed"]
"""`safe` and `unsafe` are of judges of harm; `refusal` and `compliance` of judges of refusal."""
BLOCKED = "the guard"
"""Named as the judge where no model answered, because a picture was blocked."""


@dataclass(frozen=True)
class Judgement:
    """What one judge says of one answer.

    Attributes:
        label: `unparsed` = the judge gave no verdict that can be read. It is never dropped.
        judge: which one, with its version.
        detail: its own word where it knows more classes, such as "3_partial_refusal".
        with_echo: the label for the answer with the safety prefix's echo in it, where a judge
            matches words and the echo was taken away for `label`; else None.
    """

    label: Label
    judge: str
    detail: str | None = None
    with_echo: Label | None = None


class Judge(Protocol):
    """Judges stored answers, one by one, and generates none."""

    @property
    def name(self) -> str:
        """With its version: a figure without it says nothing."""

    def judge(self, item: Item, answer: str) -> Judgement:
        """Judge one answer.

        Args:
            item: what was asked.
            answer: the whole of it.

        Raises:
            GuardError: the judge did not answer.
        """
