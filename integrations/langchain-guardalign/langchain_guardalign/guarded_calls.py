"""The calls of a guarded chat model: clean the prompt, then let the model behind answer it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, closing
from typing import Any, cast
from uuid import UUID

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    BaseRunManager,
    CallbackManagerForLLMRun,
    Callbacks,
)
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, get_config_list

from langchain_guardalign.cleaner import Cleaned
from langchain_guardalign.runnable import ImageGuardRunnable
from langchain_guardalign.screening import (
    Screened,
    ascreen,
    cleaned,
    config_of,
    generation_with_verdicts,
    run_config,
    screen,
    with_verdicts,
)
from langchain_guardalign.tracing import record_on_run, run_metadata


class GuardedCalls(BaseChatModel):
    """Every way to call a chat model, with the guard before it.

    The model is called through its public methods, so that its cache, callbacks, rate limiter and
    events work as without the guard, on the cleaned prompt.
    """

    guard: ImageGuardRunnable

    @abstractmethod
    def _model(self) -> BaseChatModel:
        """The model that answers."""

    def _clean(self, prompt: Any, config: RunnableConfig) -> Cleaned:
        (screened,) = cleaned(screen(self.guard, [prompt], [config]))
        return screened

    async def _aclean(self, prompt: Any, config: RunnableConfig) -> Cleaned:
        (screened,) = cleaned(await ascreen(self.guard, [prompt], [config]))
        return screened

    def invoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Clean the prompt and call the model; raises the errors of `ImageGuardRunnable`."""
        config = ensure_config(config)
        prompt = self._clean(input, config)
        answer = self._model().invoke(prompt.value, run_config(config, prompt), stop=stop, **kwargs)
        return cast("AIMessage", with_verdicts(answer, prompt))

    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """`invoke` with the scan in a thread."""
        config = ensure_config(config)
        prompt = await self._aclean(input, config)
        answer = await self._model().ainvoke(
            prompt.value, run_config(config, prompt), stop=stop, **kwargs
        )
        return cast("AIMessage", with_verdicts(answer, prompt))

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Stream the model's answer; nothing comes before the guard has finished."""
        config = ensure_config(config)
        prompt = self._clean(input, config)
        chunks = self._model().stream(prompt.value, run_config(config, prompt), stop=stop, **kwargs)
        with closing(cast("Any", chunks)):
            for number, chunk in enumerate(chunks):
                yield chunk if number else with_verdicts(chunk, prompt)

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """`stream` with the scan in a thread."""
        config = ensure_config(config)
        prompt = await self._aclean(input, config)
        first = True
        chunks = self._model().astream(
            prompt.value, run_config(config, prompt), stop=stop, **kwargs
        )
        async with aclosing(cast("Any", chunks)):
            async for chunk in chunks:
                yield with_verdicts(chunk, prompt) if first else chunk
                first = False

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Clean several prompts with one scan, and call the model as its own `batch` does."""
        configs = get_config_list(config, len(inputs))
        screened = screen(self.guard, inputs, configs)
        values, rest = _to_answer(screened, configs, return_exceptions)
        return _in_order(
            screened,
            self._model().batch(values, rest, return_exceptions=return_exceptions, **kwargs),
        )

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """`batch` with the scan in a thread."""
        configs = get_config_list(config, len(inputs))
        screened = await ascreen(self.guard, inputs, configs)
        values, rest = _to_answer(screened, configs, return_exceptions)
        return _in_order(
            screened,
            await self._model().abatch(values, rest, return_exceptions=return_exceptions, **kwargs),
        )

    def generate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        *,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        run_name: str | None = None,
        run_id: UUID | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Clean several prompts with one scan, and generate an answer to each."""
        config = config_of(callbacks, tags, metadata)
        prompts = cleaned(screen(self.guard, messages, [config] * len(messages)))
        result = self._model().generate(
            [prompt.value for prompt in prompts],
            stop,
            callbacks,
            tags=tags,
            metadata=_metadata(metadata, prompts),
            run_name=run_name,
            run_id=run_id,
            **kwargs,
        )
        return _result_with_verdicts(result, prompts)

    async def agenerate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        *,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        run_name: str | None = None,
        run_id: UUID | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        """`generate` with the scan in a thread."""
        config = config_of(callbacks, tags, metadata)
        prompts = cleaned(await ascreen(self.guard, messages, [config] * len(messages)))
        result = await self._model().agenerate(
            [prompt.value for prompt in prompts],
            stop,
            callbacks,
            tags=tags,
            metadata=_metadata(metadata, prompts),
            run_name=run_name,
            run_id=run_id,
            **kwargs,
        )
        return _result_with_verdicts(result, prompts)

    def _chat_model_stream_v3(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        config = ensure_config(config)
        prompt = self._clean(input, config)
        return self._model()._chat_model_stream_v3(
            prompt.value, run_config(config, prompt), **kwargs
        )

    async def _achat_model_stream_v3(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        config = ensure_config(config)
        prompt = await self._aclean(input, config)
        return await self._model()._achat_model_stream_v3(
            prompt.value, run_config(config, prompt), **kwargs
        )

    # Below, the run is the caller's own: the model gets its run manager.

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        prompt = self._clean(messages, config_of([]))
        _record(prompt, run_manager)
        result = self._model()._generate_with_cache(
            prompt.value, stop=stop, run_manager=run_manager, **kwargs
        )
        return _chat_result(result, prompt)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        prompt = await self._aclean(messages, config_of([]))
        _record(prompt, run_manager)
        result = await self._model()._agenerate_with_cache(
            prompt.value, stop=stop, run_manager=run_manager, **kwargs
        )
        return _chat_result(result, prompt)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        prompt = self._clean(messages, config_of([]))
        model = self._model()
        if not model._should_stream(async_api=False, **{**kwargs, "stream": True}):
            result = model._generate_with_cache(prompt.value, stop, run_manager, **kwargs)
            yield _as_chunk(result, prompt)
            return
        with closing(cast("Any", model._stream(prompt.value, stop, **kwargs))) as chunks:
            for number, chunk in enumerate(chunks):
                yield chunk if number else generation_with_verdicts(chunk, prompt)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        prompt = await self._aclean(messages, config_of([]))
        model = self._model()
        if not model._should_stream(async_api=True, **{**kwargs, "stream": True}):
            result = await model._agenerate_with_cache(prompt.value, stop, run_manager, **kwargs)
            yield _as_chunk(result, prompt)
            return
        first = True
        async with aclosing(cast("Any", model._astream(prompt.value, stop, **kwargs))) as chunks:
            async for chunk in chunks:
                yield generation_with_verdicts(chunk, prompt) if first else chunk
                first = False


def _record(prompt: Cleaned, run_manager: BaseRunManager | None) -> None:
    if run_manager is not None:
        record_on_run(prompt.records, run_manager)


def _metadata(metadata: dict[str, Any] | None, prompts: Sequence[Cleaned]) -> dict[str, Any]:
    records = [record for prompt in prompts for record in prompt.records]
    return {**(metadata or {}), **run_metadata(records)}


def _to_answer(
    screened: Sequence[Screened], configs: Sequence[RunnableConfig], return_exceptions: bool
) -> tuple[list[Any], list[RunnableConfig]]:
    """The prompts that may be forwarded with their configs; without errors unless wanted."""
    if not return_exceptions:
        cleaned(screened)
    pairs = [
        (item.value, run_config(config, item))
        for item, config in zip(screened, configs, strict=True)
        if isinstance(item, Cleaned)
    ]
    return [value for value, _ in pairs], [config for _, config in pairs]


def _in_order(screened: Sequence[Screened], answers: Sequence[Any]) -> list[Any]:
    rest = iter(answers)
    return [
        with_verdicts(next(rest), item) if isinstance(item, Cleaned) else item for item in screened
    ]


def _result_with_verdicts(result: LLMResult, prompts: Sequence[Cleaned]) -> LLMResult:
    # In place: a copy would lose `run`, and only the generations can be shared with a cache.
    result.generations = [
        [generation_with_verdicts(each, prompt) for each in row]
        for row, prompt in zip(result.generations, prompts, strict=True)
    ]
    return result


def _chat_result(result: ChatResult, prompt: Cleaned) -> ChatResult:
    generations = [generation_with_verdicts(each, prompt) for each in result.generations]
    return ChatResult(generations=generations, llm_output=result.llm_output)


def _as_chunk(result: ChatResult, prompt: Cleaned) -> ChatGenerationChunk:
    """The whole answer of a model that does not stream."""
    message = with_verdicts(result.generations[0].message, prompt)
    fields = {name: getattr(message, name) for name in type(message).model_fields}
    fields |= {"type": "AIMessageChunk", "chunk_position": "last"}
    return ChatGenerationChunk(message=AIMessageChunk(**fields))
