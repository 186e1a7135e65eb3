"""Doubles of LLMs that fill a schema in the ways that LlamaIndex's integrations do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from llama_index.core.base.llms.types import CompletionResponse
from llama_index.core.llms import ChatMessage
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.program.streaming_utils import process_streaming_content_incremental
from llama_index.core.types import PydanticProgramMode

from llama_index_support.doubles import PlainLLM, ToolLLM


class OllamaLike(ToolLLM):
    """Passes the schema as `format` of a chat, and overrides the four public methods."""

    @classmethod
    def class_name(cls) -> str:
        return "ollama_like"

    def structured_predict(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> Any:
        messages, kwargs = self._request(output_cls, prompt, llm_kwargs, prompt_args)
        return output_cls.model_validate_json(self.chat(messages, **kwargs).message.content or "")

    async def astructured_predict(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> Any:
        messages, kwargs = self._request(output_cls, prompt, llm_kwargs, prompt_args)
        response = await self.achat(messages, **kwargs)
        return output_cls.model_validate_json(response.message.content or "")

    def stream_structured_predict(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> Iterator[Any]:
        messages, kwargs = self._request(output_cls, prompt, llm_kwargs, prompt_args)
        current = None
        for response in self.stream_chat(messages, **kwargs):
            current = process_streaming_content_incremental(response, output_cls, current)
            yield current

    async def astream_structured_predict(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> AsyncIterator[Any]:
        async def generate() -> AsyncIterator[Any]:
            messages, kwargs = self._request(output_cls, prompt, llm_kwargs, prompt_args)
            current = None
            async for response in await self.astream_chat(messages, **kwargs):
                current = process_streaming_content_incremental(response, output_cls, current)
                yield current

        return generate()

    def _request(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any, args: Any
    ) -> tuple[list[ChatMessage], dict[str, Any]]:
        kwargs = {**(llm_kwargs or {}), "format": output_cls.model_json_schema()}
        return prompt.format_messages(**args), kwargs


class OpenAILike(ToolLLM):
    """Passes the schema as `response_format` if its model can; streams by the private hooks."""

    model: str = "gpt-4o"

    @classmethod
    def class_name(cls) -> str:
        return "openai_like"

    def _should_use_structure_outputs(self) -> bool:
        return self.pydantic_program_mode == PydanticProgramMode.DEFAULT and self.model == "gpt-4o"

    def structured_predict(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> Any:
        llm_kwargs = llm_kwargs or {}
        if self._should_use_structure_outputs():
            messages, kwargs = self._native(output_cls, prompt, llm_kwargs, prompt_args)
            response = self.chat(messages, **kwargs)
            return output_cls.model_validate_json(str(response.message.content))
        llm_kwargs.setdefault("tool_choice", "required")
        return super().structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)

    async def astructured_predict(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> Any:
        llm_kwargs = llm_kwargs or {}
        if self._should_use_structure_outputs():
            messages, kwargs = self._native(output_cls, prompt, llm_kwargs, prompt_args)
            response = await self.achat(messages, **kwargs)
            return output_cls.model_validate_json(str(response.message.content))
        llm_kwargs.setdefault("tool_choice", "required")
        return await super().astructured_predict(output_cls, prompt, llm_kwargs, **prompt_args)

    def _structured_stream_call(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> Iterator[Any]:
        if not self._should_use_structure_outputs():
            yield from super()._structured_stream_call(
                output_cls, prompt, llm_kwargs, **prompt_args
            )
            return
        messages, kwargs = self._native(output_cls, prompt, llm_kwargs, prompt_args)
        current = None
        for response in self.stream_chat(messages, **kwargs):
            current = process_streaming_content_incremental(response, output_cls, current)
            yield current

    async def _structured_astream_call(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> Any:
        if not self._should_use_structure_outputs():
            return await super()._structured_astream_call(
                output_cls, prompt, llm_kwargs, **prompt_args
            )

        async def generate() -> AsyncIterator[Any]:
            messages, kwargs = self._native(output_cls, prompt, llm_kwargs, prompt_args)
            current = None
            async for response in await self.astream_chat(messages, **kwargs):
                current = process_streaming_content_incremental(response, output_cls, current)
                yield current

        return generate()

    def _native(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any, args: Any
    ) -> tuple[list[ChatMessage], dict[str, Any]]:
        messages = self._extend_messages(prompt.format_messages(**args))
        schema = {"type": "json_schema", "json_schema": output_cls.model_json_schema()}
        return messages, {**(llm_kwargs or {}), "response_format": schema}


class AnthropicLike(PlainLLM):
    """Sends the messages to its own client, past its own `chat`."""

    @classmethod
    def class_name(cls) -> str:
        return "anthropic_like"

    def structured_predict(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> Any:
        sent = {**(llm_kwargs or {}), "output_format": output_cls}
        answer = self._next(prompt.format_messages(**prompt_args), sent)
        return output_cls.model_validate_json(answer.content or "")

    async def astructured_predict(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> Any:
        return self.structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)

    def stream_structured_predict(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> Iterator[Any]:
        yield self.structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)

    async def astream_structured_predict(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> AsyncIterator[Any]:
        async def generate() -> AsyncIterator[Any]:
            yield self.structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)

        return generate()


class Completer(PlainLLM):
    """An LLM without chat, that answers every prompt with the first text of its script."""

    chat_model: bool = False

    @classmethod
    def class_name(cls) -> str:
        return "completer"

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        self._prompts.append(prompt)
        self._kwargs.append(kwargs)
        return CompletionResponse(text=self.script[0].content or "")

    @llm_completion_callback()
    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        self._prompts.append(prompt)
        self._kwargs.append(kwargs)
        return CompletionResponse(text=self.script[0].content or "")
