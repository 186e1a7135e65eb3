"""One question, answered in three ways: by the plain model, with the prefix, and guarded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal

from guardalign_middleware.errors import CalibrationError
from guardalign_middleware.faults import typed_faults
from guardalign_middleware.generation import CalibratedRunner, Runner
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.guarded_prompt import guarded_prompt
from guardalign_middleware.intake.messages import read_conversation
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.types import CanonicalImage, ImagePart, Message, TextPart

Way = Literal["plain", "prefix", "guarded"]


@dataclass(frozen=True)
class Described:
    """A way of answering, in words."""

    way: Way
    title: str
    note: str


WAYS = (
    Described("plain", "Unguarded", "The model as it is: your picture, your words, nothing else."),
    Described("prefix", "Prefix only", "A safety prefix goes before your words. Same picture."),
    Described("guarded", "Guarded", "The cleaned picture, the prefix, and attention held to it."),
)


class Answers:
    """Asks the model of a chain; nothing of a question is kept.

    Args:
        chain: its runner answers.
    """

    def __init__(self, chain: GuardAlign) -> None:
        self._chain = chain

    def calibrates(self) -> bool:
        """Whether γ has an effect on this model; the first time, it reads a short text."""
        runner = self._chain.runner
        if not isinstance(runner, CalibratedRunner):
            return False
        try:
            _ = runner.layers
        except CalibrationError:
            return False
        return True

    def runner(self, gamma: float | None) -> Runner:
        """The runner at this strength; it shares model, queue and tokenizer with the chain's."""
        runner = self._chain.runner
        if gamma is None or not isinstance(runner, CalibratedRunner):
            return runner
        return runner if runner.config.calibration.gamma == gamma else runner.at_gamma(gamma)

    async def stream(
        self,
        way: Way,
        image: CanonicalImage,
        cleaned: SanitizedImage,
        text: str,
        gamma: float | None,
    ) -> AsyncGenerator[str, None]:
        """The pieces of one answer; leaving the loop stops the generation.

        Args:
            way: how to answer.
            image: the picture as it came, for all ways but `guarded`.
            cleaned: the same picture after the guard.
            text: the question.
            gamma: strength of the calibration.

        Raises:
            GuardAlignError: as `GuardAlign.stream`.
        """
        runner = self.runner(gamma)
        message = question(image, text)
        if way == "guarded":
            parsed = read_conversation([message], self._chain.config.intake)
            always = runner.config.prefix.policy == "always"
            prompt = guarded_prompt(parsed, [cleaned], "reply", prefix=always)
            chain = GuardAlign(self._chain.guard, runner)
            # Starting a stream resizes pictures for the model, so it runs in a thread.
            stream = await asyncio.to_thread(chain.stream_reply, prompt)
            try:
                async for chunk in stream:
                    if chunk.text:
                        yield chunk.text
            finally:
                await stream.aclose()
            return
        prefix = way == "prefix"
        tokens = await asyncio.to_thread(runner.stream, [message], prefix=prefix, calibrate=False)
        try:
            with typed_faults("generation"):
                async for piece in tokens:
                    yield piece
        finally:
            await tokens.aclose()


def question(image: CanonicalImage, text: str) -> Message:
    """A question about a picture."""
    return Message("user", (ImagePart(image), TextPart(text)))
