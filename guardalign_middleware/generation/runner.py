"""The calibrated runner: any transformers image-text-to-text model behind one small interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from pydantic import ValidationError

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import CalibrationError, ConfigError
from guardalign_middleware.generation.attention.run import AttentionLayers
from guardalign_middleware.generation.awaiting import flags_of, parts_of
from guardalign_middleware.generation.engine.decoding import RowDecoder
from guardalign_middleware.generation.engine.inference import Inference
from guardalign_middleware.generation.engine.job import Job, Settings
from guardalign_middleware.generation.engine.loading import LoadedModel, load_model
from guardalign_middleware.generation.engine.queue import BatchPolicy
from guardalign_middleware.generation.engine.service import GenerationService
from guardalign_middleware.generation.prompt.encoder import EncodedPrompts, PromptEncoder
from guardalign_middleware.generation.prompt.tool_calls import Tools, tool_template
from guardalign_middleware.generation.stream import Emit, Ticket, TokenStream
from guardalign_middleware.types import Generated, Message


class CalibratedRunner:
    """A local vision-language model with the safety prefix and the calibrated attention to it.

    Any number of threads may call it. Prompts are encoded in the thread of the caller; one thread
    runs the model and answers what has gathered meanwhile in one pass, up to `config.batch_size`
    conversations. Each gets the answer it would get alone. Nothing stays on the model after a
    call, whether it succeeds, fails or is cancelled.

    Args:
        loaded: model and processor.
        config: defaults of every call, and the sizes of batches and queue.

    Attributes:
        name: of the model.
        provenance: the weight files it was made of; None for a model that was not loaded from any.
        tool_template: the template by which tool calls are read; None where the model cannot call.
    """

    def __init__(self, loaded: LoadedModel, config: RunnerConfig) -> None:
        self.config = config
        self.name = loaded.name
        self.provenance = loaded.provenance
        self.tool_template = tool_template(loaded.processor)
        self._prompts = PromptEncoder(
            loaded.processor,
            prefix=config.prefix.text,
            placement=config.prefix.placement,
            max_tokens=getattr(
                loaded.model.config.get_text_config(), "max_position_embeddings", None
            ),
        )
        self._inference = Inference(loaded, config.calibration)
        self._service = GenerationService(
            self._inference.answer,
            BatchPolicy(config.batch_size, config.max_wait_ms / 1000.0, config.max_queue),
        )

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
        tools: Tools = (),
        explain: bool = False,
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
            tools: what the model may call, as JSON schemas of OpenAI's form; its calls are in the
                text of the answer, in the format of `tool_template`.
            explain: record how much attention the instruction pays the prefix in each layer, as
                `calibration.prefix_attention` of the answer.

        Raises:
            MessageError: messages the model cannot be asked.
            ConfigError: an option out of range, or tools for a model that cannot call any.
            CalibrationError: calibration was asked for and did not happen exactly as configured.
            Overloaded: too many requests wait.
            OutOfMemory: the device has no memory for this request, even alone.
            GuardError: the model gave no trustworthy scores.
        """
        call = self._call(calibrate, max_new_tokens, temperature, seed, stop, tools, explain)
        return _wait(self._submit([self._job(messages, prefix, call)]))[0]

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
        tools: Tools = (),
    ) -> list[Generated]:
        """Answer several conversations, `config.batch_size` at a time.

        Each row gets the answer it would get alone, also when sampling. `prefix` may be one value
        per row; the other arguments, and the errors, are those of `generate`. An error in one row
        is an error of the whole call.
        """
        call = self._call(calibrate, max_new_tokens, temperature, seed, stop, tools)
        flags = flags_of(prefix, len(rows))
        answers: list[Generated] = []
        for part in parts_of(len(rows), self.config):
            pairs = zip(rows[part], flags[part], strict=True)
            answers += _wait(self._submit([self._job(row, flag, call) for row, flag in pairs]))
        return answers

    def start_batch(
        self,
        rows: Sequence[Sequence[Message]],
        *,
        prefix: bool | Sequence[bool] = True,
        calibrate: bool = True,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] | None = None,
        tools: Tools = (),
    ) -> list[Ticket]:
        """Begin to answer several conversations, all or none; their tickets hold the answers.

        For callers who have no thread to wait in. Prompts are encoded here; arguments and errors
        are those of `generate_batch`, where those of the generation are raised by the tickets.
        More than `config.max_queue` conversations are `Overloaded`.
        """
        call = self._call(calibrate, max_new_tokens, temperature, seed, stop, tools)
        pairs = zip(rows, flags_of(prefix, len(rows)), strict=True)
        return self._submit([self._job(row, flag, call) for row, flag in pairs])

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
        tools: Tools = (),
    ) -> TokenStream:
        """Answer one conversation piece by piece; joined, the pieces equal `generate`'s text.

        Arguments and errors are those of `generate`; a fault of the prompt and a full queue are
        raised here, a fault of the generation by the iteration.
        """
        call = self._call(calibrate, max_new_tokens, temperature, seed, stop, tools)
        prompt, settings = self._encode(messages, prefix, call)

        def start(emit: Emit) -> Ticket:
            return self._submit([self._new_job(prompt, settings, emit)])[0]

        return TokenStream.of(start)

    def token_ids(self, text: str) -> list[int]:
        """The tokens of a text alone: no template, no special tokens."""
        return self._prompts.token_ids(text)

    def count_tokens(
        self, messages: Sequence[Message], *, prefix: bool = True, tools: Tools = ()
    ) -> int:
        """Length of the prompt with its template, images and safety prefix; nothing is generated.

        Raises:
            MessageError: messages the model cannot be asked.
        """
        prompt = self._prompts.encode([messages], prefix=[prefix], spans=False, tools=tools)
        return prompt.input_tokens[0]

    @property
    def layers(self) -> AttentionLayers:
        """The decoder layers that calibration reaches, found by a short forward on first use.

        Raises:
            CalibrationError: this model family cannot be calibrated; the message says why.
        """
        return self._inference.layers

    @property
    def _model(self) -> Any:
        return self._inference.model

    def _call(
        self,
        calibrate: bool,
        max_new_tokens: int | None,
        temperature: float | None,
        seed: int | None,
        stop: Sequence[str] | None,
        tools: Tools,
        explain: bool = False,
    ) -> _Call:
        config = self.config
        call = _Call(
            calibrate=calibrate,
            max_new_tokens=config.max_new_tokens if max_new_tokens is None else max_new_tokens,
            temperature=config.temperature if temperature is None else temperature,
            seed=config.seed if seed is None else seed,
            stop=() if stop is None else tuple(stop),
            tools=tuple(tools),
            explain=explain,
        )
        if call.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens should be >= 1. Received {max_new_tokens}.")
        if not 0.0 <= call.temperature < float("inf"):
            raise ConfigError(f"temperature should be >= 0. Received {temperature}.")
        if "" in call.stop:
            raise ConfigError("stop should hold non-empty strings. Received ''.")
        if call.tools and self.tool_template is None:
            raise ConfigError(
                "The model's chat template takes no tools, or writes calls in an unknown format.",
                remedy="Ask without tools, or use a model that can call them.",
            )
        return call

    def _job(self, messages: Sequence[Message], prefix: bool, call: _Call) -> Job:
        return self._new_job(*self._encode(messages, prefix, call))

    def _encode(
        self, messages: Sequence[Message], prefix: bool, call: _Call
    ) -> tuple[EncodedPrompts, Settings]:
        """The prompt, and whether it is going to be calibrated."""
        calibration = self.config.calibration
        gamma = calibration.gamma if call.calibrate and prefix else 0.0
        why_off = ""
        if not call.calibrate:
            why_off = "calibration was not asked for"
        elif calibration.gamma == 0.0:
            why_off = "gamma is 0"
        spans = prefix and (call.explain or gamma > 0.0)
        if spans:
            try:
                # The family is asked first: it costs one short forward in the life of the runner.
                _ = self.layers
                prompt = self._prompts.encode(
                    [messages], prefix=[prefix], spans=True, tools=call.tools
                )
            except CalibrationError as error:
                if call.explain or calibration.unsupported == "refuse":
                    raise
                gamma, spans = 0.0, False
                why_off = f"this model cannot be calibrated: {error.message}"
        if not spans:
            prompt = self._prompts.encode(
                [messages], prefix=[prefix], spans=False, tools=call.tools
            )
        return prompt, Settings(
            prefix=prefix,
            gamma=gamma,
            max_new_tokens=call.max_new_tokens,
            temperature=call.temperature,
            seed=call.seed,
            stop=call.stop,
            explain=spans and call.explain,
            why_off=why_off,
        )

    def _new_job(self, prompt: EncodedPrompts, settings: Settings, emit: Emit | None = None) -> Job:
        return Job(
            prompt,
            settings,
            lambda cancelled: RowDecoder(
                self._prompts.decode,
                eos=self._inference.eos,
                stop=settings.stop,
                max_new_tokens=settings.max_new_tokens,
                emit=emit,
                cancelled=cancelled,
            ),
        )

    def _submit(self, jobs: Sequence[Job]) -> list[Ticket]:
        self._service.submit(jobs)
        return [Ticket(job.future, partial(self._service.cancel, job)) for job in jobs]


def _wait(tickets: Sequence[Ticket]) -> list[Generated]:
    try:
        return [ticket.future.result() for ticket in tickets]
    except BaseException:
        # Nobody waits for the other rows any more, also after Ctrl-C.
        for ticket in tickets:
            ticket.cancel()
        raise


@dataclass(frozen=True)
class _Call:
    """The arguments of a call, with the config's defaults filled in."""

    calibrate: bool
    max_new_tokens: int
    temperature: float
    seed: int
    stop: tuple[str, ...]
    tools: tuple[Mapping[str, Any], ...]
    explain: bool
