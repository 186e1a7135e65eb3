"""The calls of a guarded chat model in a run of the caller's own, such as LangChain's `invoke`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from typing import Any, cast

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig

from guardalign_middleware.cleaning.outcomes import Cleaned
from langchain_guardalign.blocked_reply import BlockedReply, needs_form
from langchain_guardalign.guarded_results import as_chunk, chat_result, record
from langchain_guardalign.runnable import ImageGuardRunnable
from langchain_guardalign.screening import (
    ascreen,
    cleaned,
    config_of,
    generation_with_verdicts,
    screen,
)


class GuardedRuns(BaseChatModel):
    """Cleans a prompt and lets the model, or the reply to a blocked image, answer it.

    The model gets the caller's run manager.
    """

    guard: ImageGuardRunnable

    @abstractmethod
    def _model(self) -> BaseChatModel:
        """The model that answers."""

    def _answering(self, prompt: Cleaned) -> BaseChatModel:
        """The model, or what replies in its place."""
        model = self._model()
        if not prompt.blocked:
            return model
        return BlockedReply(
            reply=self.guard.blocked_reply,
            callbacks=model.callbacks,
            tags=model.tags,
            metadata=model.metadata,
            cache=False,
        )

    def _clean(self, prompt: Any, config: RunnableConfig, keywords: dict[str, Any]) -> Cleaned:
        replies = not needs_form(keywords)
        (screened,) = cleaned(screen(self.guard, [prompt], [config], replies=replies))
        return screened

    async def _aclean(
        self, prompt: Any, config: RunnableConfig, keywords: dict[str, Any]
    ) -> Cleaned:
        replies = not needs_form(keywords)
        (screened,) = cleaned(await ascreen(self.guard, [prompt], [config], replies=replies))
        return screened

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        prompt = self._clean(messages, config_of([]), kwargs)
        record(prompt, run_manager)
        result = self._answering(prompt)._generate_with_cache(
            prompt.value, stop=stop, run_manager=run_manager, **kwargs
        )
        return chat_result(result, prompt)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        prompt = await self._aclean(messages, config_of([]), kwargs)
        record(prompt, run_manager)
        result = await self._answering(prompt)._agenerate_with_cache(
            prompt.value, stop=stop, run_manager=run_manager, **kwargs
        )
        return chat_result(result, prompt)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        prompt = self._clean(messages, config_of([]), kwargs)
        model = self._answering(prompt)
        if not model._should_stream(async_api=False, **{**kwargs, "stream": True}):
            result = model._generate_with_cache(prompt.value, stop, run_manager, **kwargs)
            yield as_chunk(result, prompt)
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
        prompt = await self._aclean(messages, config_of([]), kwargs)
        model = self._answering(prompt)
        if not model._should_stream(async_api=True, **{**kwargs, "stream": True}):
            result = await model._agenerate_with_cache(prompt.value, stop, run_manager, **kwargs)
            yield as_chunk(result, prompt)
            return
        first = True
        async with aclosing(cast("Any", model._astream(prompt.value, stop, **kwargs))) as chunks:
            async for chunk in chunks:
                yield generation_with_verdicts(chunk, prompt) if first else chunk
                first = False
