"""The calibrated runner: any transformers image-text-to-text model behind one small interface."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any, Self, Unpack

from pydantic import ValidationError

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.generation.attention.run import AttentionLayers
from guardalign_middleware.generation.awaiting import batch_slices, prefix_flags
from guardalign_middleware.generation.engine.decoding import RowDecoder, TokenText
from guardalign_middleware.generation.engine.inference import Inference
from guardalign_middleware.generation.engine.job import Job, Settings
from guardalign_middleware.generation.engine.loading import LoadedModel, load_model
from guardalign_middleware.generation.engine.queue import BatchPolicy
from guardalign_middleware.generation.engine.service import GenerationService
from guardalign_middleware.generation.options import (
    GenerationOptions,
    ResolvedOptions,
    Tools,
    plain_tools,
)
from guardalign_middleware.generation.prompt.encoder import EncodedPrompts, PromptEncoder
from guardalign_middleware.generation.prompt.tool_calls import tool_template
from guardalign_middleware.generation.request_encoder import RequestEncoder
from guardalign_middleware.generation.stream import Emit, Ticket, TokenStream
from guardalign_middleware.intake.unicode_text import check_unicode
from guardalign_middleware.replies import Generated
from guardalign_middleware.types import Message


class CalibratedRunner:
    """A local vision-language model with a safety prefix and calibrated attention to it.

    Any number of threads may call it. Each caller's thread encodes its prompt. One thread runs the
    model and answers all waiting requests in one pass, up to `config.batch_size` conversations.
    Each conversation gets the answer it would get alone. A call leaves the model unchanged, whether
    it succeeds, fails or is cancelled.

    Args:
        loaded: model and processor.
        config: defaults of every call, and the sizes of batches and queue.

    Attributes:
        name: name of the model.
        provenance: its weight files; None for a model that was not loaded from files.
        tool_template: template for reading tool calls; None if the model cannot call tools.
    """

    def __init__(self, loaded: LoadedModel, config: RunnerConfig) -> None:
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
        self._text_of = TokenText(loaded.processor.tokenizer)
        self._inference = Inference(loaded, config.calibration)
        self._requests = RequestEncoder(
            self._prompts, self._inference, config, tools=self.tool_template is not None
        )
        self._service = GenerationService(
            self._inference.answer,
            BatchPolicy(config.batch_size, config.max_wait_ms / 1000.0, config.max_queue),
        )

    @classmethod
    def from_config(cls, config: RunnerConfig) -> Self:
        """Load the model named in the config.

        Raises:
            ModelLoadError: the model cannot be loaded safely and completely.
            ConfigError: the safety prefix is empty or contains control tokens.
        """
        return cls(load_model(config), config)

    @classmethod
    def from_pretrained(cls, model: str, **overrides: Any) -> Self:
        """Load a model directory or hub id; keywords are fields of `RunnerConfig`.

        Raises:
            ModelLoadError: the model cannot be loaded safely and completely.
            ConfigError: a field is unknown or invalid.
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
        explain: bool = False,
        **options: Unpack[GenerationOptions],
    ) -> Generated:
        """Answer one conversation.

        Args:
            messages: turns with text and images; the last user message is the instruction.
            prefix: put the safety prefix before the instruction.
            calibrate: amplify the attention to it, as the config says; needs the prefix.
            explain: record how much attention the instruction pays the prefix in each layer, as
                `calibration.prefix_attention` of the answer.
            options: see `GenerationOptions`. Tool calls are in the format of `tool_template`.

        Raises:
            TypeError: an unknown keyword.
            MessageError: messages that the model cannot answer.
            ContextOverflow: the prompt is longer than the model can read.
            ConfigError: an option out of range, or tools for a model that cannot call any.
            CalibrationError: calibration was requested and did not happen exactly as configured.
            Overloaded: too many requests are waiting.
            OutOfMemory: the device has no memory for this request, even alone.
            GuardError: the model gave no trustworthy scores.
        """
        resolved = self._requests.resolve(options)
        job = self._job(messages, resolved, prefix=prefix, calibrate=calibrate, explain=explain)
        return _wait(self._submit([job]))[0]

    def generate_batch(
        self,
        rows: Sequence[Sequence[Message]],
        *,
        prefix: bool | Sequence[bool] = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> list[Generated]:
        """Answer several conversations in batches of `config.batch_size`.

        Each row gets the answer it would get alone, also when sampling. `prefix` may be one value
        per row; the other arguments, and the errors, are those of `generate`. An error in one row
        is an error of the whole call.
        """
        resolved = self._requests.resolve(options)
        flags = prefix_flags(prefix, len(rows))
        answers: list[Generated] = []
        for batch in batch_slices(len(rows), self.config):
            answers += _wait(self._start(rows[batch], flags[batch], calibrate, resolved))
        return answers

    def start_batch(
        self,
        rows: Sequence[Sequence[Message]],
        *,
        prefix: bool | Sequence[bool] = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> list[Ticket]:
        """Start answering several conversations, all or none; the tickets give the answers.

        For callers that must not block a thread. Prompts are encoded here. Arguments and errors are
        those of `generate_batch`, but errors of the generation are raised by the tickets. More than
        `config.max_queue` conversations are `Overloaded`.
        """
        resolved = self._requests.resolve(options)
        return self._start(rows, prefix_flags(prefix, len(rows)), calibrate, resolved)

    def stream(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> TokenStream:
        """Answer one conversation piece by piece; joined, the pieces equal `generate`'s text.

        Arguments and errors are those of `generate`. A fault in the prompt and a full queue are
        raised here, a fault of the generation by the iteration.
        """
        resolved = self._requests.resolve(options)
        prompt, settings = self._requests.encode(
            messages, resolved, prefix=prefix, calibrate=calibrate
        )

        def start(emit: Emit) -> Ticket:
            return self._submit([self._new_job(prompt, settings, emit)])[0]

        return TokenStream.of(start)

    def check_length(self, texts: Sequence[str], pictures: int, others: int) -> None:
        """Refuse a prompt that the model certainly cannot read; see `PromptLength.check`."""
        self._requests.length.check(texts, pictures, others)

    def token_ids(self, text: str) -> list[int]:
        """The tokens of a text, without template and special tokens."""
        check_unicode(text, "The text")
        return self._requests.length.token_ids(text)

    def count_tokens(
        self, messages: Sequence[Message], *, prefix: bool = True, tools: Tools = ()
    ) -> int:
        """Length of the prompt with its template, images and safety prefix; nothing is generated.

        Also of a prompt that is longer than the model can read; of one that has more than 100,000
        characters, the count then is only known to be more than that.

        Raises:
            MessageError: messages that the model cannot answer.
        """
        return self._requests.count_tokens(messages, prefix=prefix, tools=plain_tools(tools))

    @property
    def config(self) -> RunnerConfig:
        """Defaults of every call, and the sizes of batches and queue."""
        return self._requests.config

    def at_gamma(self, gamma: float) -> Self:
        """A runner of the same model and queue at another strength of the calibration.

        Raises:
            ConfigError: a strength that `calibration.gamma` cannot be.
        """
        other = copy.copy(self)
        other._requests = self._requests.at_gamma(gamma)
        return other

    @property
    def max_input_tokens(self) -> int | None:
        """The longest prompt that the model can read; None if its config names no limit."""
        return self._prompts.max_tokens

    @property
    def layers(self) -> AttentionLayers:
        """The decoder layers to calibrate, found by a short forward on first use.

        Raises:
            CalibrationError: this model family cannot be calibrated; the message says why.
        """
        return self._inference.layers

    @property
    def _model(self) -> Any:
        return self._inference.model

    def _start(
        self,
        rows: Sequence[Sequence[Message]],
        flags: Sequence[bool],
        calibrate: bool,
        options: ResolvedOptions,
    ) -> list[Ticket]:
        pairs = zip(rows, flags, strict=True)
        return self._submit(
            [self._job(row, options, prefix=flag, calibrate=calibrate) for row, flag in pairs]
        )

    def _job(
        self,
        messages: Sequence[Message],
        options: ResolvedOptions,
        *,
        prefix: bool,
        calibrate: bool,
        explain: bool = False,
    ) -> Job:
        return self._new_job(
            *self._requests.encode(
                messages, options, prefix=prefix, calibrate=calibrate, explain=explain
            )
        )

    def _new_job(self, prompt: EncodedPrompts, settings: Settings, emit: Emit | None = None) -> Job:
        return Job(
            prompt,
            settings,
            lambda cancelled: RowDecoder(
                self._text_of,
                eos=self._inference.settings.eos,
                stop=settings.options.stop,
                max_new_tokens=settings.options.max_new_tokens,
                emit=emit,
                cancelled=cancelled,
                single_bytes=self._text_of.single_bytes,
            ),
        )

    def _submit(self, jobs: Sequence[Job]) -> list[Ticket]:
        self._service.submit(jobs)
        return [Ticket(job.future, partial(self._service.cancel, job)) for job in jobs]


def _wait(tickets: Sequence[Ticket]) -> list[Generated]:
    try:
        return [ticket.future.result() for ticket in tickets]
    except BaseException:
        # The answers of the other rows are not needed any more; also after Ctrl-C.
        for ticket in tickets:
            ticket.cancel()
        raise
