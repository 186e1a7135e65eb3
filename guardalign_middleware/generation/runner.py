"""The calibrated runner: any transformers image-text-to-text model behind one small interface."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import torch
from pydantic import ValidationError
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import ConfigError, GuardError
from guardalign_middleware.generation.attention import (
    calibrated_attention,
    find_attention_layers,
    model_lock,
)
from guardalign_middleware.generation.calibration import AttentionLayers, CalibrationRun
from guardalign_middleware.generation.decoding import (
    NextTokens,
    RowWatch,
    TextEmitter,
    final_text,
)
from guardalign_middleware.generation.loading import LoadedModel, load_model
from guardalign_middleware.generation.spans import EncodedPrompts, PromptEncoder
from guardalign_middleware.generation.stream import Emit, TokenStream
from guardalign_middleware.types import CalibrationReport, Generated, Message, Usage

_PROBE_TEXT = "What is in the picture?"


@dataclass(frozen=True)
class _Settings:
    calibrate: bool
    max_new_tokens: int
    temperature: float
    seed: int
    stop: tuple[str, ...]


class CalibratedRunner:
    """A local vision-language model with the safety prefix and the calibrated attention to it.

    Concurrent callers are safe: they take turns on the model. Nothing stays on the model after a
    call, whether it succeeds, fails or is cancelled.

    Args:
        loaded: model and processor.
        config: defaults of every call.
    """

    def __init__(self, loaded: LoadedModel, config: RunnerConfig) -> None:
        self.config = config
        self.name = loaded.name
        self._model: Any = loaded.model
        self._device = loaded.device
        self._prompts = PromptEncoder(
            loaded.processor,
            prefix=config.prefix.text,
            placement=config.prefix.placement,
            max_tokens=getattr(
                loaded.model.config.get_text_config(), "max_position_embeddings", None
            ),
        )
        self._tokenizer = loaded.processor.tokenizer

    @classmethod
    def from_config(cls, config: RunnerConfig) -> Self:
        """Load the model that the config names.

        Raises:
            ModelLoadError: it cannot be loaded safely and completely.
            ConfigError: the safety prefix is empty or contains control tokens.
        """
        return cls(load_model(config), config)

    @classmethod
    def from_pretrained(cls, model: str, **overrides: Any) -> Self:
        """Load a model directory or hub id; keywords are fields of `RunnerConfig`.

        Raises:
            ModelLoadError: it cannot be loaded safely and completely.
            ConfigError: an unknown or invalid field.
        """
        try:
            config = RunnerConfig(model=str(model), **overrides)
        except ValidationError as error:
            raise ConfigError(f"The runner's config is invalid: {error}") from error
        return cls.from_config(config)

    def generate(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool = True,
        calibrate: bool = True,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] | None = None,
    ) -> Generated:
        """Answer one conversation.

        Args:
            messages: turns with text and images, the last user message being the instruction.
            prefix: put the safety prefix before the instruction.
            calibrate: amplify the attention to it, as the config says; needs the prefix.
            max_new_tokens: at most this many tokens.
            temperature: 0 = greedy; above it, sampling from the whole softmax.
            seed: of the sampling.
            stop: strings at which the answer ends; they are not part of it.

        Raises:
            MessageError: messages the model cannot be asked.
            CalibrationError: calibration was asked for and did not happen exactly as configured.
            GuardError: the model gave no trustworthy scores.
        """
        return self.generate_batch(
            [messages],
            prefix=prefix,
            calibrate=calibrate,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
            stop=stop,
        )[0]

    def generate_batch(
        self,
        rows: Sequence[Sequence[Message]],
        *,
        prefix: bool | Sequence[bool] = True,
        calibrate: bool = True,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] | None = None,
    ) -> list[Generated]:
        """Answer several conversations, `config.batch_size` at a time.

        Each row gets the answer it would get alone, also when sampling. `prefix` may be one value
        per row; the other arguments, and the errors, are those of `generate`.
        """
        settings = self._settings(calibrate, max_new_tokens, temperature, seed, stop)
        flags = [prefix] * len(rows) if isinstance(prefix, bool) else list(prefix)
        if len(flags) != len(rows):
            raise ConfigError(
                f"prefix should have one value per conversation ({len(rows)}). Got {len(flags)}."
            )
        answers: list[Generated] = []
        for start in range(0, len(rows), self.config.batch_size):
            part = slice(start, start + self.config.batch_size)
            prompts = self._encode(rows[part], flags[part], settings)
            answers += self._answer(prompts, flags[part], settings)
        return answers

    def stream(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool = True,
        calibrate: bool = True,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] | None = None,
    ) -> TokenStream:
        """Answer one conversation piece by piece; joined, the pieces equal `generate`'s text.

        Arguments and errors are those of `generate`; a fault of the prompt is raised here,
        a fault of the generation by the iteration.
        """
        settings = self._settings(calibrate, max_new_tokens, temperature, seed, stop)
        prompts = self._encode([messages], [prefix], settings)

        def produce(emit: Emit, cancel: threading.Event) -> Generated:
            return self._answer(prompts, [prefix], settings, emit=emit, cancel=cancel)[0]

        return TokenStream(produce)

    def token_ids(self, text: str) -> list[int]:
        """The tokens of a text alone: no template, no special tokens."""
        return self._prompts.token_ids(text)

    def count_tokens(self, messages: Sequence[Message], *, prefix: bool = True) -> int:
        """Length of the prompt with its template, images and safety prefix; nothing is generated.

        Raises:
            MessageError: messages the model cannot be asked.
        """
        return self._prompts.encode([messages], prefix=[prefix], spans=False).input_tokens[0]

    @cached_property
    def layers(self) -> AttentionLayers:
        """The decoder layers that calibration reaches, found by a short forward on first use.

        Raises:
            CalibrationError: this model family cannot be calibrated; the message says why.
        """
        ids = self._tokenizer(_PROBE_TEXT, return_tensors="pt")["input_ids"].to(self._device)
        found = find_attention_layers(self._model, ids)
        return found.band(*self.config.calibration.band)

    def _settings(
        self,
        calibrate: bool,
        max_new_tokens: int | None,
        temperature: float | None,
        seed: int | None,
        stop: Sequence[str] | None,
    ) -> _Settings:
        settings = _Settings(
            calibrate=calibrate and self.config.calibration.gamma > 0.0,
            max_new_tokens=self.config.max_new_tokens if max_new_tokens is None else max_new_tokens,
            temperature=self.config.temperature if temperature is None else temperature,
            seed=self.config.seed if seed is None else seed,
            stop=() if stop is None else tuple(stop),
        )
        if settings.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens should be >= 1. Received {max_new_tokens}.")
        if not 0.0 <= settings.temperature < float("inf"):
            raise ConfigError(f"temperature should be >= 0. Received {temperature}.")
        if "" in settings.stop:
            raise ConfigError("stop should hold non-empty strings. Received ''.")
        return settings

    def _encode(
        self, rows: Sequence[Sequence[Message]], prefix: Sequence[bool], settings: _Settings
    ) -> EncodedPrompts:
        return self._prompts.encode(rows, prefix=prefix, spans=settings.calibrate and any(prefix))

    def _answer(
        self,
        prompts: EncodedPrompts,
        prefix: Sequence[bool],
        settings: _Settings,
        emit: Emit | None = None,
        cancel: threading.Event | None = None,
    ) -> list[Generated]:
        inputs = {name: self._to_model(value) for name, value in prompts.inputs.items()}
        rows, prompt_length = inputs["input_ids"].shape
        options = self._options(settings.max_new_tokens)
        eos = options.eos_token_id
        watch = RowWatch(
            rows=rows,
            prompt_length=prompt_length,
            eos=eos if isinstance(eos, list) else [] if eos is None else [eos],
            decode=self._prompts.decode,
            stop=settings.stop,
            cancel=cancel,
        )
        emitter = None
        if emit is not None:
            emitter = TextEmitter(emit, self._prompts.decode, settings.stop)
        with model_lock(self._model), torch.inference_mode():
            run = self._calibration(prompts, settings)
            with nullcontext() if run is None else calibrated_attention(self._model, run):
                sequences = self._model.generate(
                    **inputs,
                    generation_config=options,
                    logits_processor=LogitsProcessorList(
                        [NextTokens(settings.temperature, [settings.seed] * rows)]
                    ),
                    stopping_criteria=StoppingCriteriaList([watch]),
                    streamer=emitter,
                )
        layers = () if run is None else run.observed_layers()
        answers = []
        for row, ids in enumerate(sequences[:, prompt_length:].tolist()):
            kept, reason = watch.outcome(row, ids)
            text = final_text(self._prompts.decode(kept), settings.stop)
            answers.append(
                Generated(
                    text=text,
                    finish_reason=reason,
                    calibration=self._report(prompts, row, prefix[row], settings, layers),
                    usage=Usage(prompts.input_tokens[row], len(kept)),
                )
            )
        if emitter is not None:
            emitter.finish(answers[0].text)
        return answers

    def _calibration(self, prompts: EncodedPrompts, settings: _Settings) -> CalibrationRun | None:
        both = prompts.prefix_mask.any(dim=1) & prompts.instruction_mask.any(dim=1)
        if not settings.calibrate or not bool(both.any()):
            return None
        return CalibrationRun(
            prompts.prefix_mask, prompts.instruction_mask, self.config.calibration, self.layers
        )

    def _report(
        self,
        prompts: EncodedPrompts,
        row: int,
        prefix: bool,
        settings: _Settings,
        layers: tuple[int, ...],
    ) -> CalibrationReport:
        prefix_tokens = int(prompts.prefix_mask[row].sum())
        instruction_tokens = int(prompts.instruction_mask[row].sum())
        calibration = self.config.calibration
        reason = ""
        if not settings.calibrate:
            reason = "gamma is 0" if calibration.gamma == 0.0 else "calibration was not asked for"
        elif not prefix:
            reason = "there is no safety prefix in the prompt"
        elif instruction_tokens == 0:
            reason = "the last user message has no text"
        if reason:
            return CalibrationReport("off", prefix, calibration.mode, 0.0, reason=reason)
        if not layers or prefix_tokens == 0:
            raise GuardError("A row was not calibrated.", stage="calibration")
        return CalibrationReport(
            state="on",
            prefix=True,
            mode=calibration.mode,
            gamma=calibration.gamma,
            layers=layers,
            prefix_tokens=prefix_tokens,
            instruction_tokens=instruction_tokens,
        )

    def _options(self, max_new_tokens: int) -> GenerationConfig:
        options: Any = copy.deepcopy(self._model.generation_config)
        # One beam and one answer per row; sampling is done by `NextTokens`.
        options.update(
            max_new_tokens=max_new_tokens,
            max_length=None,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            num_beams=1,
            num_return_sequences=1,
            guidance_scale=None,
            return_dict_in_generate=False,
        )
        if options.eos_token_id is None:
            options.eos_token_id = self._tokenizer.eos_token_id
        if options.pad_token_id is None:
            options.pad_token_id = self._tokenizer.pad_token_id
        return options  # type: ignore[no-any-return]

    def _to_model(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if value.is_floating_point():
            return value.to(self._device, self._model.dtype)
        return value.to(self._device)
