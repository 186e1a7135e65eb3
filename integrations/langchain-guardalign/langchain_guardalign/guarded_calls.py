"""The calls of a guarded chat model: clean the prompt, then let the model behind answer it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from typing import Any, cast
from uuid import UUID

from langchain_core.callbacks import (
    Callbacks,
)
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, get_config_list

from langchain_guardalign.blocked_reply import needs_form
from langchain_guardalign.guarded_results import (
    in_order,
    merged,
    metadata_with_verdicts,
    to_answer,
)
from langchain_guardalign.guarded_runs import GuardedRuns
from langchain_guardalign.screening import (
    ascreen,
    cleaned,
    config_of,
    run_config,
    screen,
    with_verdicts,
    without_verdicts,
)


class GuardedCalls(GuardedRuns):
    """Every way to call a chat model, with the guard before it.

    The model is called through its public methods, so that its cache, callbacks, rate limiter and
    events work as without the guard, on the cleaned prompt. A blocked image is answered with the
    preset's reply, without the model, unless the call wants a tool call or a schema.
    """

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
        prompt = self._clean(input, config, kwargs)
        answer = self._answering(prompt).invoke(
            prompt.value, run_config(config, prompt), stop=stop, **kwargs
        )
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
        prompt = await self._aclean(input, config, kwargs)
        answer = await self._answering(prompt).ainvoke(
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
        prompt = self._clean(input, config, kwargs)
        chunks = self._answering(prompt).stream(
            prompt.value, run_config(config, prompt), stop=stop, **kwargs
        )
        with closing(cast("Any", chunks)):
            for number, chunk in enumerate(chunks):
                yield without_verdicts(chunk, prompt) if number else with_verdicts(chunk, prompt)

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
        prompt = await self._aclean(input, config, kwargs)
        first = True
        chunks = self._answering(prompt).astream(
            prompt.value, run_config(config, prompt), stop=stop, **kwargs
        )
        async with aclosing(cast("Any", chunks)):
            async for chunk in chunks:
                yield with_verdicts(chunk, prompt) if first else without_verdicts(chunk, prompt)
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
        screened = screen(self.guard, inputs, configs, replies=not needs_form(kwargs))
        asked, blocked = to_answer(screened, configs, return_exceptions)
        answers = self._model().batch(
            [prompt.value for prompt, _ in asked],
            [each for _, each in asked],
            return_exceptions=return_exceptions,
            **kwargs,
        )
        replies = [self._answering(each).invoke(each.value, mine) for each, mine in blocked]
        return in_order(screened, answers, replies)

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
        screened = await ascreen(self.guard, inputs, configs, replies=not needs_form(kwargs))
        asked, blocked = to_answer(screened, configs, return_exceptions)
        answers = await self._model().abatch(
            [prompt.value for prompt, _ in asked],
            [each for _, each in asked],
            return_exceptions=return_exceptions,
            **kwargs,
        )
        replies = [await self._answering(each).ainvoke(each.value, mine) for each, mine in blocked]
        return in_order(screened, answers, replies)

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
        screened = screen(
            self.guard, messages, [config] * len(messages), replies=not needs_form(kwargs)
        )
        prompts = cleaned(screened)
        asked = [prompt for prompt in prompts if not prompt.blocked]
        answers, replies = None, list[LLMResult]()
        if asked or not prompts:
            answers = self._model().generate(
                [prompt.value for prompt in asked],
                stop,
                callbacks,
                tags=tags,
                metadata=metadata_with_verdicts(metadata, asked),
                run_name=run_name,
                run_id=run_id,
                **kwargs,
            )
        for prompt in prompts:
            if prompt.blocked:
                reply = self._answering(prompt).generate(
                    [prompt.value],
                    stop,
                    callbacks,
                    tags=tags,
                    metadata=metadata_with_verdicts(metadata, [prompt]),
                    run_name=run_name,
                    run_id=None if asked or replies else run_id,
                )
                replies.append(reply)
        return merged(prompts, answers, replies)

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
        screened = await ascreen(
            self.guard, messages, [config] * len(messages), replies=not needs_form(kwargs)
        )
        prompts = cleaned(screened)
        asked = [prompt for prompt in prompts if not prompt.blocked]
        answers, replies = None, list[LLMResult]()
        if asked or not prompts:
            answers = await self._model().agenerate(
                [prompt.value for prompt in asked],
                stop,
                callbacks,
                tags=tags,
                metadata=metadata_with_verdicts(metadata, asked),
                run_name=run_name,
                run_id=run_id,
                **kwargs,
            )
        for prompt in prompts:
            if prompt.blocked:
                reply = await self._answering(prompt).agenerate(
                    [prompt.value],
                    stop,
                    callbacks,
                    tags=tags,
                    metadata=metadata_with_verdicts(metadata, [prompt]),
                    run_name=run_name,
                    run_id=None if asked or replies else run_id,
                )
                replies.append(reply)
        return merged(prompts, answers, replies)

    def _chat_model_stream_v3(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        config = ensure_config(config)
        prompt = self._clean(input, config, kwargs)
        return self._answering(prompt)._chat_model_stream_v3(
            prompt.value, run_config(config, prompt), **kwargs
        )

    async def _achat_model_stream_v3(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        config = ensure_config(config)
        prompt = await self._aclean(input, config, kwargs)
        return await self._answering(prompt)._achat_model_stream_v3(
            prompt.value, run_config(config, prompt), **kwargs
        )
