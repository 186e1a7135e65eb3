"""The model provider: `--model guardalign/PRESET -M arm=full`.

Requests that Inspect makes at the same time are answered in one pass of the model. Only `text` and
`image` contents are read, through the guard's own intake; tools are refused, since the arms are
defined for a question and its pictures.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from threading import Lock
from time import perf_counter
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ContentImage,
    ContentText,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    StopReason,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.errors import ConfigError, MessageError
from guardalign_middleware.evaluation.arms import Answered, Arm, Asked, arm_names
from guardalign_middleware.evaluation.arms.build import ArmSettings, build_arm
from guardalign_middleware.evaluation.experiment.about import (
    generation_record,
    versions,
    weights_record,
)
from guardalign_middleware.evaluation.inspect.logs import AnsweredBy, Told
from guardalign_middleware.evaluation.inspect.pictures import KEY, pictures_of
from guardalign_middleware.generation.options import GenerationOptions
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.identity import chain_identity
from guardalign_middleware.intake.messages import read_conversation
from guardalign_middleware.replies import FinishReason
from guardalign_middleware.types import Message

NAME = "guardalign"
_STOP: dict[FinishReason, StopReason] = {
    "stop": "stop",
    "length": "max_tokens",
    "blocked": "content_filter",
    "cancelled": "unknown",
}
# Settings of Inspect that change an answer and that the runner does not have.
_REFUSED = ("top_p", "top_k", "frequency_penalty", "presence_penalty", "num_choices", "logprobs")
_CHAINS: dict[str, GuardAlign] = {}
_LOCK = Lock()


class GuardAlignAPI(ModelAPI):
    """One arm of a preset as a model of Inspect.

    Args:
        model_name: a preset's name.
        base_url, api_key: not used: the model is in this process.
        config: of Inspect.
        arm: one of `ARMS`.
        preset: the path of a preset, instead of the name.
        eta_threshold: for the arm `eta`.

    Raises:
        ConfigError: an unknown argument, arm or preset, or an address or key.
        ModelLoadError: a model cannot be loaded safely and completely.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (Inspect's own signature)
        arm: str = "full",
        preset: str | None = None,
        eta_threshold: float | None = None,
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        if model_args or base_url or api_key:
            unknown = ", ".join([*model_args, *(["base_url"] if base_url else [])]) or "api_key"
            raise ConfigError(
                f"The provider {NAME!r} takes no {unknown}.",
                remedy="Its arguments are arm, preset and eta_threshold.",
            )
        names = arm_names(arm)
        if len(names) != 1:
            raise ConfigError("A model is one arm.", remedy="Name one with -M arm=full.")
        self._arm = names[0]
        self._chain = _chain(preset or model_name)
        self._run = AnsweredBy(
            preset=preset or model_name,
            model=self._chain.runner.name,
            chain=chain_identity(self._chain.config, self._chain),
            generation=generation_record(self._chain),
            versions=versions(),
            weights=weights_record(self._chain),
        )
        self._eta_threshold = eta_threshold
        self._arms: dict[str, Arm] = {}
        self._made(GenerationOptions())

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Answer one conversation.

        Raises:
            MessageError: there are tools, or a content that is neither text nor a picture.
            ConfigError: a setting that the runner does not have.
            GuardAlignError: the conversation cannot be answered.
        """
        del tool_choice
        if tools:
            raise MessageError("The arms take no tools.", remedy="Use a task without tools.")
        options = _options(config)
        arm = self._made(options)
        begun = perf_counter()
        # A thread each: the runner answers those that wait together.
        answer = await asyncio.to_thread(self._answer, arm, input)
        return self._output(answer, options, perf_counter() - begun)

    def max_connections(self) -> int:
        """As many as one pass of the model answers."""
        return self._chain.runner.config.batch_size

    def connection_key(self) -> str:
        """All arms of a preset share a model."""
        return f"{NAME}/{self._chain.config.name}"

    def _made(self, options: GenerationOptions) -> Arm:
        key = repr(sorted(options.items()))
        if key not in self._arms:
            settings = ArmSettings(options, self._eta_threshold)
            self._arms[key] = build_arm(self._arm, self._chain, settings)
        return self._arms[key]

    def _answer(self, arm: Arm, given: Sequence[ChatMessage]) -> Answered:
        return arm.answer([self._asked(given)])[0]

    def _asked(self, given: Sequence[ChatMessage]) -> Asked:
        told = [_message(each) for each in given]
        messages: tuple[Message, ...] = read_conversation(told, self._chain.config.intake).messages
        return messages

    def _output(self, answer: Answered, options: GenerationOptions, seconds: float) -> ModelOutput:
        output = ModelOutput.from_content(
            self.model_name, answer.text, stop_reason=_STOP[answer.finish_reason]
        )
        output.usage = ModelUsage(
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            total_tokens=answer.input_tokens + answer.output_tokens,
        )
        output.time = seconds
        asked = json.loads(json.dumps(options))  # as the log will hold it: tuples become lists
        run = self._run.model_copy(update={"generation": {**self._run.generation, **asked}})
        output.metadata = Told(
            arm=self._arm,
            calls=answer.calls,
            finish_reason=answer.finish_reason,
            detail=dict(answer.detail),
            run=run,
        ).model_dump()
        return output


@modelapi(name=NAME)
def guardalign() -> type[ModelAPI]:
    """The provider, for Inspect's registry."""
    return GuardAlignAPI


def _chain(preset: str) -> GuardAlign:
    """The chain of a preset, loaded once for all arms."""
    with _LOCK:
        if preset not in _CHAINS:
            _CHAINS[preset] = GuardAlign.from_config(GuardAlignConfig.load(preset))
        return _CHAINS[preset]


def _options(config: GenerateConfig) -> GenerationOptions:
    """Inspect's settings as the runner's.

    Raises:
        ConfigError: one that would change answers, and that the runner does not have.
    """
    if refused := [name for name in _REFUSED if getattr(config, name) is not None]:
        raise ConfigError(
            f"The runner has no {', '.join(refused)}.",
            remedy="Leave it out: settings are max_tokens, temperature, seed and stop_seqs.",
        )
    found = GenerationOptions()
    if config.max_tokens is not None:
        found["max_new_tokens"] = config.max_tokens
    if config.temperature is not None:
        found["temperature"] = config.temperature
    if config.seed is not None:
        found["seed"] = config.seed
    if config.stop_seqs is not None:
        found["stop"] = tuple(config.stop_seqs)
    return found


def _message(given: ChatMessage) -> dict[str, Any]:
    """A message of Inspect in the form that intake reads."""
    parts: list[dict[str, Any]] = [
        {"type": "image", "image": data} for data in pictures_of_message(given)
    ]
    contents = (
        [ContentText(text=given.content)] if isinstance(given.content, str) else given.content
    )
    for content in contents:
        if isinstance(content, ContentText):
            parts.append({"type": "text", "text": content.text})
        elif isinstance(content, ContentImage):
            parts.append({"type": "image_url", "image_url": {"url": content.image}})
        else:
            raise MessageError(f"The arms read text and pictures, and no {content.type!r}.")
    return {"role": given.role, "content": parts}


def pictures_of_message(given: ChatMessage) -> tuple[bytes, ...]:
    """The pictures that a message names in its metadata."""
    name = (given.metadata or {}).get(KEY)
    return () if name is None else pictures_of(str(name))
