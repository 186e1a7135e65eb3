"""The chain, the one module that knows every stage: `ImageGuard` cleans, then a runner answers."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self, Unpack

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.faults import typed_faults
from guardalign_middleware.generation import CalibratedRunner, Runner
from guardalign_middleware.generation.awaiting import agenerate_batch
from guardalign_middleware.generation.options import GenerationOptions
from guardalign_middleware.generation.output import OnOutput, OutputRunner
from guardalign_middleware.guarded_prompt import GuardedPrompt as GuardedPrompt
from guardalign_middleware.guarded_prompt import check_length, guarded_prompt
from guardalign_middleware.guarded_stream import GuardedStream
from guardalign_middleware.handling import OnBlocked, OnRefused, check_sent_options
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.intake.messages import read_conversation
from guardalign_middleware.remote import RemoteImageGuard
from guardalign_middleware.replies import Generated, GuardedChunk, GuardedReply
from guardalign_middleware.scan_threads import in_scan_thread
from guardalign_middleware.sent_turns import Refusals
from guardalign_middleware.start_checks import require_profile, require_runner
from guardalign_middleware.turns import sanitize_conversations
from guardalign_middleware.types import Message

Conversation = str | Sequence[Mapping[str, Any] | Message]


class GuardAlign:
    """Takes a conversation and returns a guarded answer.

    Every image of every message is scanned and cleaned before the runner sees it. If one that the
    user has just sent is blocked, the runner is not called and the answer is
    `config.blocked_reply`. Just sent are the user's and the system's messages after the last answer
    or tool result. Elsewhere a text takes the place of what is blocked or refused, so that the
    conversation can go on; the reply lists the latter under `refused`.

    One conversation is bounded by `IntakePolicy`'s caps of a request.

    Args:
        guard: scans and cleans the images; its config also holds the reply to a blocked image.
        runner: answers; its config decides when the safety prefix is in the prompt.
        on_output: receives each answer of the runner before the caller does and may change it; see
            `guardalign_middleware.generation.output`.
        on_refused: `raise` the error of a part that the user has just sent and that cannot be
            checked, or show a `notice` that names the cause.
        on_blocked: `reply` in the model's place to a blocked image that the user has just sent, or
            show a `notice` and ask the model.

    Raises:
        ConfigError: another value of `on_refused` or `on_blocked`.
    """

    def __init__(
        self,
        guard: ImageGuard | RemoteImageGuard,
        runner: Runner,
        *,
        on_output: OnOutput | None = None,
        on_refused: OnRefused = "raise",
        on_blocked: OnBlocked = "reply",
    ) -> None:
        check_sent_options(on_refused, on_blocked)
        self.on_refused: OnRefused = on_refused
        self.on_blocked: OnBlocked = on_blocked
        self._refusals = Refusals()
        self.guard = guard
        self.runner: Runner = runner if on_output is None else OutputRunner(runner, on_output)
        self.config = guard.config

    @classmethod
    def from_preset(
        cls,
        preset: str | Path,
        *,
        on_output: OnOutput | None = None,
        on_refused: OnRefused = "raise",
        on_blocked: OnBlocked = "reply",
    ) -> Self:
        """Load a shipped preset by name, or a YAML file by path.

        Raises:
            ConfigError: unknown or invalid preset, one without a profile or a runner, or an unknown
                value of an option.
            ModelLoadError: a model cannot be loaded safely and completely.
            AuditError: the audit log cannot be written, or its key cannot be read.
        """
        return cls.from_config(
            GuardAlignConfig.load(preset),
            on_output=on_output,
            on_refused=on_refused,
            on_blocked=on_blocked,
        )

    @classmethod
    def from_config(
        cls,
        config: GuardAlignConfig,
        *,
        on_output: OnOutput | None = None,
        on_refused: OnRefused = "raise",
        on_blocked: OnBlocked = "reply",
    ) -> Self:
        """Load the guard and the runner that the config names; errors as for `from_preset`."""
        # Checked before 7B weights are loaded, so that these errors come at once.
        check_sent_options(on_refused, on_blocked)
        require_profile(config)
        runner = require_runner(config)
        guard = ImageGuard.from_config(config)
        return cls(
            guard,
            CalibratedRunner.from_config(runner),
            on_output=on_output,
            on_refused=on_refused,
            on_blocked=on_blocked,
        )

    def with_options(self, *, on_refused: OnRefused, on_blocked: OnBlocked) -> Self:
        """The same chain, with its models, under other options; itself if it has these.

        Raises:
            ConfigError: another value of an option.
        """
        if (on_refused, on_blocked) == (self.on_refused, self.on_blocked):
            return self
        check_sent_options(on_refused, on_blocked)
        chain = copy.copy(self)
        chain.on_refused, chain.on_blocked = on_refused, on_blocked
        return chain

    def invoke(self, messages: Conversation, **options: Unpack[GenerationOptions]) -> GuardedReply:
        """Answer one conversation.

        Args:
            messages: role/content mappings or `Message` values, never modified; a string is one
                user turn.
            options: override the runner's config for this call.

        Raises:
            MessageError: a message is malformed, or one of the parts that the user has just sent is
                malformed or not allowed, or the conversation exceeds a cap of a request.
            ContextOverflow: the conversation is longer than the model can read. Where its text or
                the pictures just sent show that, nothing is decoded or scanned.
            ImageRejected: an image that the user has just sent and that the intake policy does not
                accept. With `on_refused="notice"`, no part raises either error.
            GuardError: a fault of the guard or, at the stage `generation`, of the model. The runner
                was not called, or its answer was discarded.
            AuditError: a verdict cannot be recorded; the runner was not called.
        """
        return self.batch([messages], **options)[0]

    def batch(
        self, conversations: Sequence[Conversation], **options: Unpack[GenerationOptions]
    ) -> list[GuardedReply]:
        """Answer several conversations with batched generation.

        Each conversation gets the answer it would get alone; an error in one fails the whole call.
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

        All images have their verdicts when this returns, before the first piece. Arguments and
        errors are those of `invoke`; faults of the generation are raised while iterating.
        """
        return self.stream_reply(self.prepare(messages), **options)

    def prepare(self, messages: Conversation) -> GuardedPrompt:
        """Guard one conversation without answering it; pass the result to `reply`.

        Errors are those of `invoke`.
        """
        return self._prepare([messages])[0]

    def stream_reply(
        self, prompt: GuardedPrompt, **options: Unpack[GenerationOptions]
    ) -> GuardedStream:
        """Answer a prepared conversation piece by piece."""
        if prompt.blocked:
            return GuardedStream(None, lambda: self._blocked_reply(prompt))
        with typed_faults("generation"):
            tokens = self.runner.stream(prompt.messages, prefix=prompt.prefix, **options)
        return GuardedStream(tokens, lambda: self._reply(prompt, tokens.result))

    def reply(self, prompt: GuardedPrompt, **options: Unpack[GenerationOptions]) -> GuardedReply:
        """Answer a prepared conversation in the caller's thread."""
        if prompt.blocked:
            return self._blocked_reply(prompt)
        with typed_faults("generation"):
            answer = self.runner.generate(prompt.messages, prefix=prompt.prefix, **options)
        return self._reply(prompt, answer)

    async def ainvoke(
        self, messages: Conversation, **options: Unpack[GenerationOptions]
    ) -> GuardedReply:
        """`invoke` without blocking the event loop; cancelling the task stops the generation.

        A task that is cancelled during the scan, by a timeout for instance, never calls the model.
        """
        prompt = await in_scan_thread(self.prepare, messages)
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
        prompts = await in_scan_thread(self._prepare, conversations)
        return await self._areplies(prompts, options)

    async def astream(
        self, messages: Conversation, **options: Unpack[GenerationOptions]
    ) -> AsyncGenerator[GuardedChunk, None]:
        """`stream` without blocking the event loop; leaving the loop stops the generation."""
        prompt = await in_scan_thread(self.prepare, messages)
        # Starting the stream resizes images for the model, so it runs in a thread, too.
        stream = await asyncio.to_thread(self.stream_reply, prompt, **options)
        try:
            async for chunk in stream:
                yield chunk
        finally:
            await stream.aclose()

    async def _areplies(
        self, prompts: Sequence[GuardedPrompt], options: GenerationOptions
    ) -> list[GuardedReply]:
        # Separate from the scan: a cancelled task ends between the two, but not inside a thread.
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
        """Read and clean every image of every conversation, equal ones once."""
        policy, refusals = self.config.intake, self._refusals
        shown = (self.on_refused, self.on_blocked) == ("raise", "reply")
        with typed_faults("intake"):
            parsed = [
                read_conversation(
                    item,
                    policy,
                    on_refused=self.on_refused,
                    refusals=refusals,
                    on_measured=partial(check_length, self.runner, shown),
                )
                for item in conversations
            ]
        cleaned = iter(sanitize_conversations(self.guard, [each.messages for each in parsed]))
        always = self.runner.config.prefix.policy == "always"
        return [
            guarded_prompt(
                each,
                [next(cleaned) for message in each.messages for _ in message.images],
                self.on_blocked,
                prefix=always,
            )
            for each in parsed
        ]

    def _replies(
        self, prompts: Sequence[GuardedPrompt], answers: Sequence[Generated]
    ) -> list[GuardedReply]:
        """A reply for every prompt; `answers` belong to the prompts that are not blocked."""
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
            dropped=prompt.dropped,
            refused=prompt.refused,
        )

    def _blocked_reply(self, prompt: GuardedPrompt) -> GuardedReply:
        reply = GuardedReply.blocked(self.config.blocked_reply, prompt.verdicts, self.runner.name)
        return replace(reply, dropped=prompt.dropped, refused=prompt.refused)


def _asked(prompts: Sequence[GuardedPrompt]) -> list[GuardedPrompt]:
    return [prompt for prompt in prompts if not prompt.blocked]
