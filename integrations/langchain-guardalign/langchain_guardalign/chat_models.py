"""`ChatGuardAlign`: a local vision-language model behind the guard, as a LangChain chat model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    BaseRunManager,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import (
    LangSmithParams,
    ModelProfile,
)
from langchain_core.load.serializable import SerializedConstructor, SerializedNotImplemented
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, Field

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.fixed_options import FixedOptions
from guardalign_middleware.handles import LazyChain, no_warnings
from guardalign_middleware.handling import (
    SENT_OPTIONS,
    OnBlocked,
    OnRefused,
    check_known,
    check_option,
)
from guardalign_middleware.replies import GuardedReply
from guardalign_middleware.sources import check_preset, with_source
from langchain_guardalign.composition import Guarding
from langchain_guardalign.errors import langchain_errors
from langchain_guardalign.local_model import LocalModel, conversation_of
from langchain_guardalign.replies import ReplyWriter, records_of
from langchain_guardalign.runnable import ImageGuardRunnable
from langchain_guardalign.token_counts import max_input_tokens
from langchain_guardalign.tracing import record_on_run

if TYPE_CHECKING:
    from guardalign_middleware.generation.options import GenerationOptions
    from guardalign_middleware.guard import GuardAlign


# LangChain's standard parameters of providers over a network. Its standard tests give them to every
# model; this one has no use for them.
_OF_PROVIDERS = frozenset({"api_key", "base_url", "max_retries", "streaming", "timeout"})
# What LangChain itself adds to a call, and the options of one.
_OF_CALLS = _OF_PROVIDERS | {
    *("ls_structured_output_format", "output_version", "stream", "stream_usage"),
    *("max_tokens", "model", "must_call", "seed", "stop", "temperature", "tools"),
}


class ChatGuardAlign(FixedOptions, Guarding, LocalModel):
    """A chat model that checks and cleans every image before it answers.

    Images in every message are scanned region by region, unsafe regions are masked, and the model
    answers under a safety prefix with calibrated attention. If an image that the user has just sent
    is blocked, the model is not called. The verdicts are in `response_metadata["guardalign"]`.

    ```python
    from langchain_guardalign import ChatGuardAlign

    model = ChatGuardAlign(preset="mini")
    model.invoke([{"role": "user", "content": [
        {"type": "text", "text": "What is in the picture?"},
        {"type": "image", "base64": picture, "mime_type": "image/png"},
    ]}])
    ```

    Nothing is loaded before the first call. An image behind a URL, a path or a file id is refused:
    give base64 or a data URL. In older turns and tool results, a text takes the place of what is
    refused or blocked. A fault while guarding raises `GuardError` and is never an answer.

    Args:
        source: a preset or a loaded chain, as below, given by position.
        preset: name of a shipped preset, or path of a .yaml file; "mini" if there is no `chain`
            either.
        chain: a loaded `GuardAlign`, instead of `preset`.
        temperature, max_tokens, seed, stop: of the generation; the preset's if None.
        on_refused: `raise` the error of a block that the user has just sent and that cannot be
            checked, or show the model a `notice` that names the cause.
        on_blocked: `reply` in the model's place to a blocked image that the user has just sent, or
            show a `notice`. Without these two options, those of the `chain` hold.

    Raises:
        ConfigError: an unknown preset, both `preset` and `chain`, or an option that does not exist.
            LangChain's `api_key`, `base_url`, `timeout`, `max_retries` and `streaming` are
            accepted, without effect: no provider is called.
    """

    FIXED: ClassVar[frozenset[str]] = frozenset({"preset", "chain"})
    ACCEPTED: ClassVar[Mapping[str, Sequence[str]]] = SENT_OPTIONS

    preset: str | Path | None = None
    # A `GuardAlign`; importing the class here would import torch before it is needed.
    chain: Any = Field(default=None, exclude=True, repr=False)
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: list[str] | None = Field(default=None, alias="stop_sequences")
    on_refused: OnRefused = "raise"
    on_blocked: OnBlocked = "reply"

    model_config = ConfigDict(arbitrary_types_allowed=True, populate_by_name=True)

    def __init__(self, source: Any = None, /, **options: Any) -> None:
        owner, fields = type(self).__name__, type(self).model_fields
        aliases = {field.alias for field in fields.values() if field.alias is not None}
        check_known(owner, options, {*fields, *aliases, *_OF_PROVIDERS})
        named = with_source(source, options, "chain", owner)
        for name, accepted in self.ACCEPTED.items():
            if named.get("chain") is not None:
                named.setdefault(name, getattr(named["chain"], name, accepted[0]))
            check_option(name, named.get(name, accepted[0]), accepted)
        if named.get("preset") is not None:
            check_preset(named["preset"], "chain")
        elif named.get("chain") is None:
            named["preset"] = "mini"
        super().__init__(**named)

    def model_post_init(self, context: Any, /) -> None:
        """Read the config; no model is loaded."""
        super().model_post_init(context)
        self._lazy = LazyChain(preset=self.preset, chain=self.chain)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # A loaded chain is shared: its models are never copied.
        memo = {} if memo is None else memo
        memo[id(self.chain)] = self.chain
        return super().__deepcopy__(memo)

    def _image_guard(self) -> ImageGuardRunnable:
        guard = None if self.chain is None else self.chain.guard
        with no_warnings():  # As long as it is in front of this model only.
            return ImageGuardRunnable(
                preset=self.preset,
                guard=guard,
                on_refused=self.on_refused,
                on_blocked=self.on_blocked,
            )

    @property
    def _llm_type(self) -> str:
        return "guardalign"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """Everything an answer depends on; LangChain's cache is keyed by it."""
        return {
            **self._lazy.identity,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
            "stop": self.stop,
            "on_refused": self.on_refused,
            "on_blocked": self.on_blocked,
        }

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """The cache's key; LangChain's own key would be the same for two loaded chains."""
        params = {**self._get_invocation_params(stop=stop, **kwargs), **kwargs}
        return str(sorted(params.items()))

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        runner = self._lazy.runner_config
        params = LangSmithParams(
            ls_provider="guardalign",
            ls_model_name=kwargs.get("model", self._lazy.config.name),
            ls_model_type="chat",
        )
        if runner is not None:
            params["ls_temperature"] = (
                runner.temperature if self.temperature is None else self.temperature
            )
            params["ls_max_tokens"] = self.max_tokens or runner.max_new_tokens
        if stop or self.stop:
            params["ls_stop"] = stop or self.stop
        return params

    def _resolve_model_profile(self) -> ModelProfile:
        runner = None if self.chain is None else self.chain.runner
        limit = max_input_tokens(self._lazy.runner_config, runner)
        return ModelProfile(
            **({} if limit is None else {"max_input_tokens": limit}),
            name="GuardAlign",
            open_weights=True,
            text_inputs=True,
            image_inputs=True,
            # Data URLs are image bytes; a URL that needs a network is refused.
            image_url_inputs=False,
            image_tool_message=True,
            text_outputs=True,
            # Unknown until a preset's model is loaded, which `bind_tools` does.
            tool_calling=runner is not None and getattr(runner, "tool_template", None) is not None,
            structured_output=False,
        )

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """True: a preset and the fields determine the model."""
        return True

    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """Serialise the constructor's arguments; not possible with a loaded `chain`."""
        if self.chain is not None:
            # Loading it again would silently give the default preset.
            return self.to_json_not_implemented()
        return super().to_json()

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        chain = self._handling(self._lazy.get())
        options = self._options(stop, kwargs)
        with langchain_errors():
            reply = chain.invoke(conversation_of(messages, kwargs), **options)
        _record(reply, run_manager)
        return _result(self._writer(kwargs).message(reply))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        chain = self._handling(await self._lazy.aget())
        conversation = conversation_of(messages, kwargs)
        options = self._options(stop, kwargs)
        with langchain_errors():
            reply = await chain.ainvoke(conversation, **options)
        _record(reply, run_manager)
        return _result(self._writer(kwargs).message(reply))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        chain = self._handling(self._lazy.get())
        options = self._options(stop, kwargs)
        writer = self._writer(kwargs)
        conversation = conversation_of(messages, kwargs)
        with langchain_errors(), chain.stream(conversation, **options) as pieces:
            for piece in pieces:
                chunk = ChatGenerationChunk(message=writer.chunk(piece))
                if piece.reply is not None:
                    _record(piece.reply, run_manager)
                if run_manager is not None:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        chain = self._handling(await self._lazy.aget())
        options, writer = self._options(stop, kwargs), self._writer(kwargs)
        conversation = conversation_of(messages, kwargs)
        # Leaving the stream early must stop the generation at once, not at garbage collection.
        with langchain_errors():
            async with aclosing(chain.astream(conversation, **options)) as pieces:
                async for piece in pieces:
                    chunk = ChatGenerationChunk(message=writer.chunk(piece))
                    if piece.reply is not None:
                        _record(piece.reply, run_manager)
                    if run_manager is not None:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk

    def _handling(self, chain: GuardAlign) -> GuardAlign:
        """The chain under this model's options; it may have others of its own."""
        return chain.with_options(on_refused=self.on_refused, on_blocked=self.on_blocked)

    def _writer(self, kwargs: Mapping[str, Any]) -> ReplyWriter:
        if not kwargs.get("tools"):
            return ReplyWriter()
        from guardalign_middleware.generation.prompt.tool_calls import AnswerReader

        reader = AnswerReader(self._tool_template(), kwargs["tools"])
        return ReplyWriter(reader, must_call=bool(kwargs.get("must_call")))

    def _options(self, stop: list[str] | None, kwargs: Mapping[str, Any]) -> GenerationOptions:
        """The call's keywords, else the model's fields; None leaves the preset's value.

        Raises:
            ConfigError: the call names another model, or a keyword that does not exist; either
                would be ignored.
        """
        check_known("A call of ChatGuardAlign", kwargs, _OF_CALLS)
        if kwargs.get("model", self._lazy.config.name) != self._lazy.config.name:
            raise ConfigError(
                "A ChatGuardAlign answers with one model.",
                remedy="Create a ChatGuardAlign for each preset.",
            )
        options: GenerationOptions = {
            "max_new_tokens": kwargs.get("max_tokens", self.max_tokens),
            "temperature": kwargs.get("temperature", self.temperature),
            "seed": kwargs.get("seed", self.seed),
            "stop": stop if stop is not None else self.stop,
        }
        if kwargs.get("tools"):
            options["tools"] = kwargs["tools"]
        return options


def _result(message: AIMessage) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=message)])


def _record(reply: GuardedReply, run_manager: BaseRunManager | None) -> None:
    if run_manager is not None:
        record_on_run(records_of(reply), run_manager)
