"""An LLM that calls tools from a script and keeps what it is sent."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LLMMetadata,
    ToolCallBlock,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from pydantic import PrivateAttr


class RecordingLLM(FunctionCallingLLM):
    """Answers from a script, then always "I see.".

    Attributes:
        script: the first answers.
    """

    script: list[ChatMessage] = []
    _calls: list[list[Any]] = PrivateAttr(default_factory=list)

    @property
    def metadata(self) -> LLMMetadata:
        """A chat model that calls tools."""
        return LLMMetadata(
            is_chat_model=True, is_function_calling_model=True, context_window=100_000
        )

    @property
    def calls(self) -> list[list[Any]]:
        """What it was sent: the messages and keywords of each call."""
        return self._calls

    def _next(self, *sent: Any) -> ChatResponse:
        self._calls.append(list(sent))
        at = len(self._calls) - 1
        answer = ChatMessage(role="assistant", content="I see.")
        return ChatResponse(message=self.script[at] if at < len(self.script) else answer)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The next answer."""
        return self._next(list(messages), kwargs)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        """The next answer in one piece."""
        return iter([self._next(list(messages), kwargs)])

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The next answer."""
        return self._next(list(messages), kwargs)

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        """The next answer in one piece."""
        response = self._next(list(messages), kwargs)

        async def stream() -> AsyncIterator[ChatResponse]:
            yield response

        return stream()

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """The next answer as text."""
        return CompletionResponse(text=self._next(prompt, kwargs).message.content or "")

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """The next answer as text, in one piece."""
        return iter([self.complete(prompt, formatted, **kwargs)])

    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        """The next answer as text."""
        return self.complete(prompt, formatted, **kwargs)

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """The next answer as text, in one piece."""
        response = self.complete(prompt, formatted, **kwargs)

        async def stream() -> AsyncIterator[CompletionResponse]:
            yield response

        return stream()

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[Any],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        last = [ChatMessage(role="user", content=user_msg)] if isinstance(user_msg, str) else []
        last = [user_msg] if isinstance(user_msg, ChatMessage) else last
        return {"messages": [*(chat_history or []), *last], **kwargs}

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """The calls in the script's answer."""
        return [
            ToolSelection(
                tool_id=block.tool_call_id or uuid.uuid4().hex,
                tool_name=block.tool_name,
                tool_kwargs=block.tool_kwargs if isinstance(block.tool_kwargs, dict) else {},
            )
            for block in response.message.blocks
            if isinstance(block, ToolCallBlock)
        ]
