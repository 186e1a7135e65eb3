"""The guard and the chain: the only module that knows every stage, in the order of the data.

`ImageGuard` takes an image in, scans it and cleans it. `GuardAlign` does that to every image of a
conversation, in every position, and then lets a runner answer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

from PIL import Image

from guardalign_middleware.config import GuardAlignConfig, RunnerConfig
from guardalign_middleware.detection import Detector
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.generation import CalibratedRunner, Runner
from guardalign_middleware.guarded_stream import GuardedStream
from guardalign_middleware.intake import load_image
from guardalign_middleware.messages import parse_messages
from guardalign_middleware.sanitize import SanitizedImage, sanitize
from guardalign_middleware.types import (
    CalibrationReport,
    CanonicalImage,
    Generated,
    GuardedChunk,
    GuardedReply,
    ImagePart,
    Message,
    TextPart,
    Usage,
    Verdict,
)

ImageSource = bytes | str | os.PathLike[str] | Image.Image | CanonicalImage
CALIBRATION_REMEDY = (
    "Calibrate one on images of your own with `guardalign calibrate`, and name its file as "
    "detection.profile."
)
BLOCKED_NOTE = "[blocked image]"
Conversation = str | Sequence[Mapping[str, Any] | Message]


class Options(TypedDict, total=False):
    """Keywords of every call of `GuardAlign`; what is absent comes from the runner's config.

    `temperature` 0 = greedy; `seed` is that of the sampling; an answer ends before the first of
    the strings in `stop`.
    """

    max_new_tokens: int | None
    temperature: float | None
    seed: int | None
    stop: Sequence[str] | None


class ImageGuard:
    """Scans images and cleans them.

    Args:
        config: intake caps and what happens to unsafe regions.
        detector: what scans; must hold a threshold profile.
    """

    def __init__(self, config: GuardAlignConfig, detector: Detector) -> None:
        self.config = config
        self.detector = detector

    @classmethod
    def from_preset(cls, preset: str | Path) -> Self:
        """Load a shipped preset by name, or a YAML file by path.

        Raises:
            ConfigError: unknown or invalid preset, or one without a threshold profile.
            ModelLoadError: the encoder cannot be loaded safely and completely.
        """
        return cls.from_config(GuardAlignConfig.load(preset))

    @classmethod
    def from_config(cls, config: GuardAlignConfig) -> Self:
        """Load the encoder, the anchors and the threshold profile that the config names.

        Raises:
            ConfigError: there is no threshold profile, or it was calibrated for something else.
            ModelLoadError: the encoder cannot be loaded safely and completely.
        """
        _require_profile(config)
        return cls(config, Detector.from_config(config.detection))

    def load(self, source: ImageSource) -> CanonicalImage:
        """Take an image in by this guard's policy; a path is fine, because the program names it.

        Raises:
            ImageRejected: no image that the policy accepts.
        """
        return load_image(source, self.config.intake)

    def scan(self, source: ImageSource) -> Verdict:
        """Measure one image against the unsafe concepts; nothing is changed.

        The decision is that of the detector: `mask` may still become `block` in `sanitize`, where
        the masked picture is scored again.

        Raises:
            ImageRejected: no image that the policy accepts.
            GuardError: the detector gave no trustworthy number.
        """
        return self.scan_many([source])[0]

    def scan_many(self, sources: Sequence[ImageSource]) -> list[Verdict]:
        """Scan several images together, equal pictures only once; errors are those of `scan`."""
        images = [self.load(source) for source in sources]
        distinct = {image.sha256: image for image in images}
        verdicts = dict(
            zip(distinct, self.detector.scan_many(list(distinct.values())), strict=True)
        )
        return [
            self._as_configured(replace(verdicts[image.sha256], source=image.source))
            for image in images
        ]

    def sanitize(self, source: ImageSource) -> SanitizedImage:
        """Scan one image and hide what is unsafe in it, until the rest passes; else block it.

        Raises:
            ImageRejected: no image that the policy accepts.
            GuardError: the detector gave no trustworthy number.
        """
        return self.sanitize_many([source])[0]

    def sanitize_many(self, sources: Sequence[ImageSource]) -> list[SanitizedImage]:
        """Scan several images together and clean each; errors are those of `sanitize`."""
        images = [self.load(source) for source in sources]
        cleaned: dict[str, SanitizedImage] = {}
        for image, verdict in zip(images, self.scan_many(images), strict=True):
            if image.sha256 not in cleaned:
                cleaned[image.sha256] = sanitize(
                    image, verdict, self.detector.scan, self.config.sanitize
                )
        return [_named(cleaned[image.sha256], image) for image in images]

    def _as_configured(self, verdict: Verdict) -> Verdict:
        if verdict.decision == "mask" and self.config.sanitize.method == "block":
            return replace(verdict, decision="block")
        return verdict


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
    """

    def __init__(self, guard: ImageGuard, runner: Runner) -> None:
        self.guard = guard
        self.runner = runner
        self.config = guard.config

    @classmethod
    def from_preset(cls, preset: str | Path) -> Self:
        """Load a shipped preset by name, or a YAML file by path.

        Raises:
            ConfigError: unknown or invalid preset, or one without a profile or a runner.
            ModelLoadError: a model cannot be loaded safely and completely.
        """
        return cls.from_config(GuardAlignConfig.load(preset))

    @classmethod
    def from_config(cls, config: GuardAlignConfig) -> Self:
        """Load the guard and the runner that the config names; errors as for `from_preset`."""
        # What needs no model is checked first: nobody should wait for 7B weights to read this.
        _require_profile(config)
        runner = runner_config(config)
        return cls(ImageGuard.from_config(config), CalibratedRunner.from_config(runner))

    def invoke(self, messages: Conversation, **options: Unpack[Options]) -> GuardedReply:
        """Answer one conversation.

        Args:
            messages: role/content mappings or `Message` values; a string is one user turn. They
                are not changed.
            options: what differs from the runner's config.

        Raises:
            MessageError: a message or one of its parts is malformed or not allowed.
            ImageRejected: an image that the intake policy does not accept.
            GuardError: a fault while guarding; the runner was not called, or its answer is void.
        """
        return self.batch([messages], **options)[0]

    def batch(
        self, conversations: Sequence[Conversation], **options: Unpack[Options]
    ) -> list[GuardedReply]:
        """Answer several conversations, scanning and generating together.

        Each gets the answer it would get alone; an error in one is an error of the whole call.
        Arguments and errors are those of `invoke`.
        """
        prompts = self._prepare(conversations)
        asked = [prompt for prompt in prompts if not prompt.blocked]
        answers: Iterator[Generated] = iter(())
        if asked:
            answers = iter(
                self.runner.generate_batch(
                    [prompt.messages for prompt in asked],
                    prefix=[prompt.prefix for prompt in asked],
                    **options,
                )
            )
        return [
            self._blocked_reply(prompt) if prompt.blocked else self._reply(prompt, next(answers))
            for prompt in prompts
        ]

    def stream(self, messages: Conversation, **options: Unpack[Options]) -> GuardedStream:
        """Answer one conversation piece by piece; joined, the pieces equal `invoke`'s text.

        The guard has finished when this returns: no piece comes before the verdicts. Arguments and
        errors are those of `invoke`; a fault of the generation is raised by the iteration.
        """
        return self.answer(self.prepare(messages), **options)

    def prepare(self, messages: Conversation) -> GuardedPrompt:
        """Only guard one conversation; `answer` does the rest. Errors are those of `invoke`."""
        return self._prepare([messages])[0]

    def answer(self, prompt: GuardedPrompt, **options: Unpack[Options]) -> GuardedStream:
        """Answer what `prepare` made of a conversation."""
        if prompt.blocked:
            return GuardedStream(None, lambda: self._blocked_reply(prompt))
        tokens = self.runner.stream(prompt.messages, prefix=prompt.prefix, **options)
        return GuardedStream(tokens, lambda: self._reply(prompt, tokens.result))

    async def ainvoke(self, messages: Conversation, **options: Unpack[Options]) -> GuardedReply:
        """`invoke` without blocking the event loop; cancelling the task stops the generation."""
        stream = await asyncio.to_thread(self.stream, messages, **options)
        return await stream.afinish()

    async def abatch(
        self, conversations: Sequence[Conversation], **options: Unpack[Options]
    ) -> list[GuardedReply]:
        """`batch` without blocking the event loop."""
        return await asyncio.to_thread(self.batch, conversations, **options)

    async def astream(
        self, messages: Conversation, **options: Unpack[Options]
    ) -> AsyncGenerator[GuardedChunk, None]:
        """`stream` without blocking the event loop; leaving the loop stops the generation."""
        stream = await asyncio.to_thread(self.stream, messages, **options)
        try:
            async for chunk in stream:
                yield chunk
        finally:
            await stream.aclose()

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
    flagged = any(item.verdict.flagged for item in images)
    return GuardedPrompt(cleaned, tuple(images), prefix=always or flagged)


def _cleaned(item: SanitizedImage) -> ImagePart | TextPart:
    return TextPart(BLOCKED_NOTE) if item.image is None else ImagePart(item.image)


def _named(cleaned: SanitizedImage, image: CanonicalImage) -> SanitizedImage:
    """The result for an equal picture that came from elsewhere."""
    if cleaned.original is image:
        return cleaned
    return replace(cleaned, original=image, verdict=replace(cleaned.verdict, source=image.source))


def _require_profile(config: GuardAlignConfig) -> None:
    if config.detection.profile is None:
        raise ConfigError(
            f"The preset {config.name!r} has no threshold profile, so nobody knows which distance "
            "is unsafe.",
            remedy=CALIBRATION_REMEDY,
        )
