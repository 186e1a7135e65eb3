"""The chat model: a local vision-language model behind the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, ModelProfile
from langchain_core.load.serializable import SerializedConstructor, SerializedNotImplemented
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, Field, PrivateAttr

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.lazy import LazyChain
from guardalign_middleware.messages import parse_messages
from guardalign_middleware.types import GuardedChunk, GuardedReply
from langchain_guardalign.converters import to_role_content

if TYPE_CHECKING:
    from guardalign_middleware.generation import CalibratedRunner
    from guardalign_middleware.guard import Options


class ChatGuardAlign(BaseChatModel):
    """A chat model that checks and cleans every image before it answers.

    Images are found in every message, whoever wrote it: they are scanned region by region, unsafe
    regions are masked, and the model answers under a safety prefix with calibrated attention. Where
    an image is blocked, the model is not asked. The verdicts are in
    `response_metadata["guardalign"]`.

    ```python
    from langchain_guardalign import ChatGuardAlign

    model = ChatGuardAlign(preset="mini")
    model.invoke([{"role": "user", "content": [
        {"type": "text", "text": "What is in the picture?"},
        {"type": "image", "base64": picture, "mime_type": "image/png"},
    ]}])
    ```

    Nothing is loaded before the first call. An image behind a URL, a path or a file id is refused:
    give base64 or a data URL. A fault while guarding raises `GuardError` and is never an answer.

    Args:
        preset: a shipped preset by name, or the path of a .yaml file.
        chain: a chain that exists already; then `preset` is not looked at.
        temperature, max_tokens, seed, stop: of the generation; the preset's when None.
    """

    preset: str | Path = "mini"
    # A `GuardAlign`; naming the class here would import torch before the first call needs it.
    chain: Any = Field(default=None, exclude=True, repr=False)
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: list[str] | None = Field(default=None, alias="stop_sequences")

    model_config = ConfigDict(arbitrary_types_allowed=True, populate_by_name=True)

    _lazy: LazyChain = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Read the config; no model is loaded."""
        super().model_post_init(context)
        self._lazy = (
            LazyChain(preset=self.preset) if self.chain is None else LazyChain(chain=self.chain)
        )

    @property
    def _llm_type(self) -> str:
        return "guardalign"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """Everything an answer depends on: the key of LangChain's cache."""
        return {
            **self._lazy.identity,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
            "stop": self.stop,
        }

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """The cache's key; LangChain's own would not tell two handed-in chains apart."""
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
        return ModelProfile(
            name="GuardAlign",
            open_weights=True,
            text_inputs=True,
            image_inputs=True,
            # Data URLs are image bytes; a URL that needs a network is refused.
            image_url_inputs=False,
            image_tool_message=True,
            text_outputs=True,
            tool_calling=False,
            structured_output=False,
        )

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """A preset says it all, so the model can be written down and read again."""
        return True

    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """Write the constructor down; a chain that was handed in cannot be."""
        if self.chain is not None:
            # Reading it back would silently be the guard of the default preset.
            return self.to_json_not_implemented()
        return super().to_json()

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        reply = self._lazy.get().invoke(to_role_content(messages), **self._options(stop, kwargs))
        return _result(reply)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        chain = await self._lazy.aget()
        reply = await chain.ainvoke(to_role_content(messages), **self._options(stop, kwargs))
        return _result(reply)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        options = self._options(stop, kwargs)
        with self._lazy.get().stream(to_role_content(messages), **options) as pieces:
            for piece in pieces:
                chunk = _chunk(piece)
                if run_manager is not None:
                    run_manager.on_llm_new_token(piece.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        chain = await self._lazy.aget()
        options = self._options(stop, kwargs)
        # Closed here and not by the garbage collector: who leaves early stops the generation now.
        async with aclosing(chain.astream(to_role_content(messages), **options)) as pieces:
            async for piece in pieces:
                chunk = _chunk(piece)
                if run_manager is not None:
                    await run_manager.on_llm_new_token(piece.text, chunk=chunk)
                yield chunk

    def get_token_ids(self, text: str) -> list[int]:
        """The tokens of the model's own tokenizer; nothing is downloaded.

        Raises:
            NotImplementedError: the runner is not a local model, and `custom_get_token_ids` is not
                set.
        """
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        return self._local_runner().token_ids(text)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Tokens of the whole prompt with image tokens, template and safety prefix.

        Raises:
            NotImplementedError: the runner is not a local model, or tools are given.
        """
        if tools:
            self.bind_tools(tools)
        runner = self._local_runner()
        parsed = parse_messages(to_role_content(messages), self._lazy.config.intake)
        return runner.count_tokens(parsed)

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | Any], **kwargs: Any
    ) -> NoReturn:
        """Refuse: a model that cannot call tools should not seem to accept them.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "ChatGuardAlign cannot call tools. Use a model that can, with ImageGuardRunnable or "
            "GuardAlignMiddleware before it."
        )

    def _local_runner(self) -> CalibratedRunner:
        from guardalign_middleware.generation import CalibratedRunner

        runner = self._lazy.get().runner
        if not isinstance(runner, CalibratedRunner):
            raise NotImplementedError(
                f"{type(runner).__name__} has no tokenizer here. Set custom_get_token_ids."
            )
        return runner

    def _options(self, stop: list[str] | None, kwargs: Mapping[str, Any]) -> Options:
        """This call's keywords before the model's fields, and those before the preset's.

        Raises:
            ConfigError: tools or another model are asked for; they would be ignored.
        """
        if kwargs.get("tools"):
            raise ConfigError(
                "ChatGuardAlign cannot call tools.", remedy="Call it without the option tools."
            )
        if kwargs.get("model", self._lazy.config.name) != self._lazy.config.name:
            raise ConfigError(
                "One ChatGuardAlign answers with one model.",
                remedy="Make another ChatGuardAlign for another preset.",
            )
        return {
            "max_new_tokens": kwargs.get("max_tokens", self.max_tokens),
            "temperature": kwargs.get("temperature", self.temperature),
            "seed": kwargs.get("seed", self.seed),
            "stop": stop if stop is not None else self.stop,
        }


def _result(reply: GuardedReply) -> ChatResult:
    message = AIMessage(
        content=reply.text, response_metadata=_metadata(reply), usage_metadata=_usage(reply)
    )
    return ChatResult(generations=[ChatGeneration(message=message)])


def _chunk(piece: GuardedChunk) -> ChatGenerationChunk:
    if piece.reply is None:
        return ChatGenerationChunk(message=AIMessageChunk(content=piece.text))
    return ChatGenerationChunk(
        message=AIMessageChunk(
            content=piece.text,
            response_metadata=_metadata(piece.reply),
            usage_metadata=_usage(piece.reply),
            chunk_position="last",
        )
    )


def _usage(reply: GuardedReply) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        total_tokens=reply.usage.total_tokens,
    )


def _metadata(reply: GuardedReply) -> dict[str, Any]:
    """No pixels and no image bytes: metadata ends up in logs and traces."""
    return {
        "model_name": reply.model,
        "model_provider": "guardalign",
        "finish_reason": reply.finish_reason,
        "guardalign": {
            "verdicts": [verdict.to_json() for verdict in reply.verdicts],
            "masked": sum(verdict.decision == "mask" for verdict in reply.verdicts),
            "blocked": sum(verdict.decision == "block" for verdict in reply.verdicts),
            "calibration": reply.calibration.to_json(),
        },
    }
