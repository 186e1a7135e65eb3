"""The parts of the method one by one: the model with and without prefix, calibration and guard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Unpack

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.evaluation.arms.answer import Answered, Asked
from guardalign_middleware.generation import Runner
from guardalign_middleware.generation.options import GenerationOptions
from guardalign_middleware.generation.stream import TokenStream
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.replies import Generated
from guardalign_middleware.types import Message, TextPart

NEUTRAL = "As an AI assistant, I look at pictures and answer questions about them."
"""A control: it stands where the safety prefix does, is about as long, and asks for nothing."""


@dataclass(frozen=True)
class RunnerArm:
    """The model alone; no picture is scanned.

    Attributes:
        runner: the model.
        prefix: put the safety prefix before the instruction.
        calibrate: amplify the attention to it, as the preset says.
        options: of every generation.
        neutral: sentences that go before the instruction in turn; none = none.
    """

    runner: Runner
    prefix: bool
    calibrate: bool
    options: GenerationOptions
    neutral: tuple[str, ...] = ()
    scans: bool = False

    def answer(self, asked: Sequence[Asked]) -> list[Answered]:
        """Answer with one call each."""
        rows = [_after(each, self.neutral) if self.neutral else each for each in asked]
        found = self.runner.generate_batch(
            rows, prefix=self.prefix, calibrate=self.calibrate, **self.options
        )
        return [Answered.of(reply) for reply in found]


@dataclass(frozen=True)
class ChainArm:
    """The guard before the model, which sees cleaned pictures only."""

    chain: GuardAlign
    options: GenerationOptions
    scans: bool = True

    def answer(self, asked: Sequence[Asked]) -> list[Answered]:
        """Answer with one call each, and with none for a blocked picture."""
        return [Answered.of(reply) for reply in self.chain.batch(asked, **self.options)]


class Uncalibrated:
    """A runner that never calibrates and, if told so, leaves out the safety prefix as well.

    Args:
        runner: makes the answers.
        prefix: whether the prefix may be in a prompt.
    """

    def __init__(self, runner: Runner, *, prefix: bool) -> None:
        self._runner = runner
        self._prefix = prefix

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._runner.name

    @property
    def config(self) -> RunnerConfig:
        """Defaults of every call."""
        return self._runner.config

    def generate(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> Generated:
        """Answer one conversation."""
        return self.generate_batch([messages], prefix=prefix, calibrate=calibrate, **options)[0]

    def generate_batch(
        self,
        rows: Sequence[Sequence[Message]],
        *,
        prefix: bool | Sequence[bool] = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> list[Generated]:
        """Answer several conversations."""
        del calibrate
        flags = prefix if self._prefix else False
        return self._runner.generate_batch(rows, prefix=flags, calibrate=False, **options)

    def stream(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> TokenStream:
        """Answer one conversation piece by piece."""
        del calibrate
        flag = prefix and self._prefix
        return self._runner.stream(messages, prefix=flag, calibrate=False, **options)


def _after(asked: Asked, neutral: Sequence[str]) -> Asked:
    """The conversation with a neutral sentence before the instruction.

    The sentence follows from the instruction's own words, so that an answer does not depend on what
    else is asked.
    """
    last = max(index for index, message in enumerate(asked) if message.role == "user")
    message = asked[last]
    words = message.text
    sentence = neutral[len(words) % len(neutral)]
    parts = [part for part in message.parts if not isinstance(part, TextPart)]
    told = replace(message, parts=(*parts, TextPart(f"{sentence}\n{words}")))
    return (*asked[:last], told, *asked[last + 1 :])
