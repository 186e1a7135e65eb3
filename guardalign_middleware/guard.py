"""The chain: the only module that knows every stage, in the order of the data.

`GuardAlign` lets an `ImageGuard` clean every image of a conversation, in every position, and then a
runner answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, Unpack

from guardalign_middleware import notices
from guardalign_middleware.config import GuardAlignConfig, RunnerConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.faults import typed_faults
from guardalign_middleware.generation import CalibratedRunner, Runner
from guardalign_middleware.generation.awaiting import agenerate_batch
from guardalign_middleware.generation.options import GenerationOptions
from guardalign_middleware.generation.output import OnOutput, OutputRunner
from guardalign_middleware.guarded_stream import GuardedStream
from guardalign_middleware.image_guard import PROFILE_REMEDY, ImageGuard, require_profile
from guardalign_middleware.intake.messages import parse_messages
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.types import (
    CalibrationReport,
    Generated,
    GuardedChunk,
    GuardedReply,
    ImagePart,
    Message,
    TextPart,
    Usage,
    Verdict,
)

__all__ = [
    "PROFILE_REMEDY",
    "Conversation",
    "GuardAlign",
    "GuardedPrompt",
    "ImageGuard",
    "runner_config",
]

Conversation = str | Sequence[Mapping[str, Any] | Message]


@dataclass(frozen=True, eq=False)
class GuardedPrompt:
    """A conversation after the guard: what a model may see.

    Attributes:
        messages: with every image cleaned; a note stands where an image was blocked.
        images: what was done to each image, in reading order.
        prefix: whether the safety prefix goes into the prompt.
    """

    messages: tuple[Message, ...]
    images: tuple[SanitizedImage, ...]
    prefix: bool

    @property
    def blocked(self) -> bool:
        """True when an image may not be forwarded; then no model is asked."""
        return any(item.image is None for item in self.images)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """A verdict for each image, in reading order."""
        return tuple(item.verdict for item in self.images)


class GuardAlign:
    """A conversation in, a guarded answer out.

    Every image of every message is scanned and cleaned before the runner sees it. Where one is
    blocked, the runner is not called and the answer is `config.blocked_reply`.

    Args:
        guard: scans and cleans; its config also holds the reply to a blocked image.
        runner: answers; its config says whether the safety prefix is always in the prompt.
        on_output: sees every answer of the runner before anybody else, and may change it; see
            `guardalign_middleware.generation.output`.
    """

    def __init__(
        self, guard: ImageGuard, runner: Runner, *, on_output: OnOutput | None = None
    ) -> None:
        self.guard = guard
        self.runner: Runner = runner if on_output is None else OutputRunner(runner, on_output)
        self.config = guard.config

    @classmethod
    def from_preset(cls, preset: str | Path, *, on_output: OnOutput | None = None) -> Self:
        """Load a shipped preset by name, or a YAML file by path.

        Raises:
            ConfigError: unknown or invalid preset, or one without a profile or a runner.
            ModelLoadError: a model cannot be loaded safely and completely.
            AuditError: the key of the audit log cannot be read.
        """
        return cls.from_config(GuardAlignConfig.load(preset), on_output=on_output)

    @classmethod
    def from_config(cls, config: GuardAlignConfig, *, on_output: OnOutput | None = None) -> Self:
        """Load the guard and the runner that the config names; errors as for `from_preset`."""
        # What needs no model is checked first: nobody should wait for 7B weights to read this.
        require_profile(config)
        runner = runner_config(config)
        guard = ImageGuard.from_config(config)
        return cls(guard, CalibratedRunner.from_config(runner), on_output=on_output)

    def invoke(self, messages: Conversation, **options: Unpack[GenerationOptions]) -> GuardedReply:
        """Answer one conversation.

        Args:
            messages: role/content mappings or `Message` values; a string is one user turn. They
                are not changed.
            options: what differs from the runner's config.

        Raises:
            MessageError: a message or one of its parts is malformed or not allowed.
            ImageRejected: an image that the intake policy does not accept.
            GuardError: a fault while guarding, or, at the stage `generation`, of the model; the
                runner was not called, or its answer is void.
            AuditError: a verdict cannot be recorded; the runner was not called.
        """
        return self.batch([messages], **options)[0]

    def batch(
        self, conversations: Sequence[Conversation], **options: Unpack[GenerationOptions]
    ) -> list[GuardedReply]:
        """Answer several conversations, scanning and generating together.

        Each gets the answer it would get alone; an error in one is an error of the whole call.
        Arguments and errors are those of `invoke`.
        """
        prompts = self._prepare(conversations)
        answers: list[Generated] = []
        if asked := _asked(prompts):
            with typed_faults("generation"):
                answers = self.runner.generate_batch(
                    [prompt.messages for prompt in asked],
                    prefix=[prompt.prefix for prompt in asked],
                    **options,
                )
        return self._replies(prompts, answers)

    def stream(self, messages: Conversation, **options: Unpack[GenerationOptions]) -> GuardedStream:
        """Answer one conversation piece by piece; joined, the pieces equal `invoke`'s text.

        The guard has finished when this returns: no piece comes before the verdicts. Arguments and
        errors are those of `invoke`; a fault of the generation is raised by the iteration.
        """
        return self.stream_reply(self.prepare(messages), **options)

    def prepare(self, messages: Conversation) -> GuardedPrompt:
        """Guard one conversation and stop there; `reply` and `stream_reply` go on.

        Errors are those of `invoke`.
        """
        return self._prepare([messages])[0]

    def stream_reply(
        self, prompt: GuardedPrompt, **options: Unpack[GenerationOptions]
    ) -> GuardedStream:
        """Answer what `prepare` made of a conversation, piece by piece."""
        if prompt.blocked:
            return GuardedStream(None, lambda: self._blocked_reply(prompt))
        with typed_faults("generation"):
            tokens = self.runner.stream(prompt.messages, prefix=prompt.prefix, **options)
        return GuardedStream(tokens, lambda: self._reply(prompt, tokens.result))

    def reply(self, prompt: GuardedPrompt, **options: Unpack[GenerationOptions]) -> GuardedReply:
        """Answer what `prepare` made of a conversation, in the caller's thread."""
        if prompt.blocked:
            return self._blocked_reply(prompt)
        with typed_faults("generation"):
            answer = self.runner.generate(prompt.messages, prefix=prompt.prefix, **options)
        return self._reply(prompt, answer)

    async def ainvoke(
        self, messages: Conversation, **options: Unpack[GenerationOptions]
    ) -> GuardedReply:
        """`invoke` without blocking the event loop; cancelling the task stops the generation.

        A task that is cancelled while the images are scanned, by a timeout for instance, never asks
        the model.
        """
        prompt = await asyncio.to_thread(self.prepare, messages)
        return await self.areply(prompt, **options)

    async def areply(
        self, prompt: GuardedPrompt, **options: Unpack[GenerationOptions]
    ) -> GuardedReply:
        """`reply` without blocking the event loop; cancelling the task stops the generation."""
        return (await self._areplies([prompt], options))[0]

    async def abatch(
        self, conversations: Sequence[Conversation], **options: Unpack[GenerationOptions]
    ) -> list[GuardedReply]:
        """`batch` without blocking the event loop; cancelling the task stops the generation."""
        prompts = await asyncio.to_thread(self._prepare, conversations)
        return await self._areplies(prompts, options)

    async def astream(
        self, messages: Conversation, **options: Unpack[GenerationOptions]
    ) -> AsyncGenerator[GuardedChunk, None]:
        """`stream` without blocking the event loop; leaving the loop stops the generation."""
        prompt = await asyncio.to_thread(self.prepare, messages)
        # A prompt is put into the model's form in a thread as well: its images are resized there.
        stream = await asyncio.to_thread(self.stream_reply, prompt, **options)
        try:
            async for chunk in stream:
                yield chunk
        finally:
            await stream.aclose()

    async def _areplies(
        self, prompts: Sequence[GuardedPrompt], options: GenerationOptions
    ) -> list[GuardedReply]:
        # A step of its own, since a thread cannot be stopped: who has left by now asks no model.
        asked = _asked(prompts)
        with typed_faults("generation"):
            answers = await agenerate_batch(
                self.runner,
                [prompt.messages for prompt in asked],
                prefix=[prompt.prefix for prompt in asked],
                **options,
            )
        return self._replies(prompts, answers)

    def _prepare(self, conversations: Sequence[Conversation]) -> list[GuardedPrompt]:
        """Take in and clean every image of every conversation, all in one scan."""
        parsed = [parse_messages(item, self.config.intake) for item in conversations]
        cleaned = iter(
            self.guard.sanitize_many(
                [image for messages in parsed for message in messages for image in message.images]
            )
        )
        always = self.runner.config.prefix.policy == "always"
        return [
            _prompt(
                messages, [next(cleaned) for message in messages for _ in message.images], always
            )
            for messages in parsed
        ]

    def _replies(
        self, prompts: Sequence[GuardedPrompt], answers: Sequence[Generated]
    ) -> list[GuardedReply]:
        """A reply for every prompt; `answers` are those of the prompts that are not blocked."""
        rest = iter(answers)
        return [
            self._blocked_reply(prompt) if prompt.blocked else self._reply(prompt, next(rest))
            for prompt in prompts
        ]

    def _reply(self, prompt: GuardedPrompt, answer: Generated) -> GuardedReply:
        return GuardedReply(
            text=answer.text,
            verdicts=prompt.verdicts,
            calibration=answer.calibration,
            usage=answer.usage,
            finish_reason=answer.finish_reason,
            model=self.runner.name,
        )

    def _blocked_reply(self, prompt: GuardedPrompt) -> GuardedReply:
        return GuardedReply(
            text=self.config.blocked_reply,
            verdicts=prompt.verdicts,
            calibration=CalibrationReport(
                "off", prefix=False, reason="an image was blocked, so the model was not asked"
            ),
            usage=Usage(0, 0),
            finish_reason="blocked",
            model=self.runner.name,
        )


def runner_config(config: GuardAlignConfig) -> RunnerConfig:
    """The runner's part of a preset.

    Raises:
        ConfigError: the preset is for `ImageGuard` only.
    """
    if config.runner is None:
        raise ConfigError(
            f"The preset {config.name!r} has no runner: it scans images and answers nothing.",
            remedy="Use ImageGuard, or a preset that names a model.",
        )
    return config.runner


def _asked(prompts: Sequence[GuardedPrompt]) -> list[GuardedPrompt]:
    return [prompt for prompt in prompts if not prompt.blocked]


def _prompt(
    messages: Sequence[Message], images: Sequence[SanitizedImage], always: bool
) -> GuardedPrompt:
    """Put the cleaned images where the originals were; `images` is in reading order."""
    rest = iter(images)
    cleaned = tuple(
        Message(
            message.role,
            tuple(
                _cleaned(next(rest)) if isinstance(part, ImagePart) else part
                for part in message.parts
            ),
        )
        for message in messages
    )
    # What nobody has looked at is answered as if it had been flagged.
    flagged = any(item.verdict.flagged or item.verdict.fault is not None for item in images)
    return GuardedPrompt(cleaned, tuple(images), prefix=always or flagged)


def _cleaned(item: SanitizedImage) -> ImagePart | TextPart:
    return TextPart(notices.UNSAFE) if item.image is None else ImagePart(item.image)
