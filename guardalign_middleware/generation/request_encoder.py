"""From a request to what the model is asked: its options, its prompt and its settings.

No part of this runs an answer; the callers' threads do it while the model works for others.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self

from pydantic import ValidationError

from guardalign_middleware.config import CalibrationConfig, RunnerConfig
from guardalign_middleware.config.base import invalid_fields
from guardalign_middleware.config.runner import MAX_GAMMA
from guardalign_middleware.errors import CalibrationError, ConfigError, ContextOverflow
from guardalign_middleware.generation.engine.inference import Inference
from guardalign_middleware.generation.engine.job import Settings
from guardalign_middleware.generation.engine.joining import JoinChecks
from guardalign_middleware.generation.options import (
    GenerationOptions,
    ResolvedOptions,
    resolve_options,
)
from guardalign_middleware.generation.prompt.encoder import EncodedPrompts, PromptEncoder
from guardalign_middleware.generation.prompt.length import PromptLength, trial
from guardalign_middleware.types import Message


class RequestEncoder:
    """Resolves and encodes requests; threads may share it.

    Args:
        prompts: renders and tokenizes.
        inference: knows which layers can be calibrated, and whether requests may share a pass.
        config: defaults of every request.
        tools: whether the model can call tools.

    Attributes:
        length: refuses prompts that are certainly too long.
        joins: knows which prompts may share a pass; None if none may.
    """

    def __init__(
        self, prompts: PromptEncoder, inference: Inference, config: RunnerConfig, *, tools: bool
    ) -> None:
        self._prompts = prompts
        self._inference = inference
        self.config = config
        self._tools = tools
        self.length = PromptLength(
            prompts.copied_tokenizer,
            lambda size: self.count_tokens(trial(size), prefix=False),
            prompts.max_tokens,
        )
        settings = inference.settings
        self.joins = (
            None
            if settings.alone or config.batch_size == 1
            else JoinChecks(self.plain_batch, settings.pad)
        )

    def at_gamma(self, gamma: float) -> Self:
        """The same at another strength of the calibration.

        Raises:
            ConfigError: a strength that `calibration.gamma` cannot be.
        """
        before = self.config.calibration
        try:
            calibration = CalibrationConfig.model_validate({**before.model_dump(), "gamma": gamma})
        except ValidationError as error:
            raise ConfigError(
                f"The strength {gamma!r} of the calibration is invalid: {invalid_fields(error)}",
                remedy=f"Give a number from 0 to {MAX_GAMMA:g}.",
            ) from error
        other = copy.copy(self)
        other.config = self.config.model_copy(update={"calibration": calibration})
        return other

    def resolve(self, options: GenerationOptions) -> ResolvedOptions:
        """The options of a call, with the config's defaults.

        Raises:
            TypeError: an unknown keyword.
            ConfigError: an option out of range, or tools for a model that cannot call any.
        """
        resolved = resolve_options(self.config, options)
        if resolved.tools and not self._tools:
            raise ConfigError(
                "The model's chat template takes no tools, or writes calls in an unknown format.",
                remedy="Ask without tools, or use a model that can call them.",
            )
        return resolved

    def encode(
        self,
        messages: Sequence[Message],
        options: ResolvedOptions,
        *,
        prefix: bool,
        calibrate: bool,
        explain: bool = False,
    ) -> tuple[EncodedPrompts, Settings]:
        """The prompt of one conversation, and how it is answered.

        Args:
            messages: turns with text and images.
            options: see `resolve`.
            prefix: put the safety prefix before the instruction.
            calibrate: amplify the attention to it; needs the prefix.
            explain: record the attention to it.

        Raises:
            MessageError: messages that the model cannot answer.
            ContextOverflow: the prompt is longer than the model can read.
            CalibrationError: calibration was requested and is impossible.
        """
        self.length.check_long(messages)
        calibration = self.config.calibration
        gamma = calibration.gamma if calibrate and prefix else 0.0
        off_reason = ""
        if not calibrate:
            off_reason = "calibration was not asked for"
        elif calibration.gamma == 0.0:
            off_reason = "gamma is 0"
        encode = partial(self._prompts.encode, [messages], prefix=[prefix], tools=options.tools)
        spans = prefix and (explain or gamma > 0.0)
        if spans:
            try:
                # First find out whether the model can be calibrated at all: one short forward.
                _ = self._inference.layers
                prompt = encode(spans=True)
            except CalibrationError as error:
                if explain or calibration.unsupported == "refuse":
                    raise
                gamma, spans = 0.0, False
                off_reason = f"this model cannot be calibrated: {error.message}"
        if not spans:
            prompt = encode(spans=False)
        return prompt, Settings(
            self._within_positions(options, prompt),
            prefix,
            gamma,
            spans and explain,
            off_reason,
            alone=self.joins is None or not self.joins.may_join(messages, prompt),
        )

    def count_tokens(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> int:
        """Length of the prompt; of one that is far too long, a length beyond the limit.

        Raises:
            MessageError: messages that the model cannot answer.
        """
        try:
            self.length.check_long(messages)
            prompt = self._prompts.encode([messages], prefix=[prefix], spans=False, tools=tools)
        except ContextOverflow as overflow:
            return overflow.tokens
        return prompt.input_tokens[0]

    def plain_batch(self, rows: Sequence[Sequence[Message]]) -> EncodedPrompts:
        """The processor's own batch of several conversations, without the safety prefix."""
        return self._prompts.encode(rows, prefix=[False] * len(rows), spans=False)

    def _within_positions(
        self, options: ResolvedOptions, prompt: EncodedPrompts
    ) -> ResolvedOptions:
        """The options, with an answer for which the model has positions."""
        limit = self._prompts.max_tokens
        if limit is None:
            return options
        # The last token of an answer is not read again, so it needs no position.
        room = max(1, limit - prompt.input_tokens[0] + 1)
        return replace(options, max_new_tokens=min(options.max_new_tokens, room))
