"""Answers of the miniature LLaVA, scored: what came back for a request, and what it amounts to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardalign_middleware.mini.questions import REFUSE, Outcome, score
from guardalign_middleware.mini.requests import Request
from guardalign_middleware.replies import Generated, GuardedReply

if TYPE_CHECKING:
    from guardalign_middleware.generation import CalibratedRunner

Respond = Callable[[Sequence[Request]], "list[Answer]"]
"""Answers requests, in their order."""


@dataclass(frozen=True)
class Answer:
    """The answer to one request."""

    text: str
    blocked: bool = False

    @classmethod
    def of(cls, reply: Generated | GuardedReply) -> Answer:
        """The answer in a runner's or a chain's reply."""
        return cls(reply.text, blocked=reply.finish_reason == "blocked")

    @property
    def outcome(self) -> Outcome:
        """Comply, refuse or other; a blocked image is a refusal."""
        return "refuse" if self.blocked else score(self.text)

    @property
    def is_refusal(self) -> bool:
        """An outright refusal: "I do not see it" is an answer about the picture, not a refusal."""
        words = self.text.lower().replace(".", "").split()
        return self.blocked or words == REFUSE.replace(".", "").split()

    @property
    def is_not_seen(self) -> bool:
        """Says "I do not see it": right if the thing is masked, wrong if the model overlooks it."""
        return self.outcome == "refuse" and not self.is_refusal


def runner_alone(runner: CalibratedRunner, *, prefix: bool, calibrate: bool) -> Respond:
    """Answers by the runner alone: no image is scanned."""

    def respond(requests: Sequence[Request]) -> list[Answer]:
        replies = runner.generate_batch(
            [request.messages() for request in requests], prefix=prefix, calibrate=calibrate
        )
        return [Answer.of(reply) for reply in replies]

    return respond
