"""The guarded LLM around an inner LLM that calls tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools.types import BaseTool

from guardalign_middleware import ConfigError
from llama_index.llms.guardalign.guarded_llm import GuardAlignGuardedLLM
from llama_index.llms.guardalign.report import (
    astream_with_report,
    is_blocked,
    stream_with_report,
    with_report,
)


class GuardedFunctionCallingLLM(GuardAlignGuardedLLM, FunctionCallingLLM):
    """`GuardAlignGuardedLLM` around an LLM that calls tools."""

    def chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> ChatResponse:
        """`chat` that may answer with tool calls; a blocked image never leads to one."""
        turn = self._admit_turn(user_msg, chat_history, kwargs)
        if turn.call.blocked:
            return with_report(turn.call.target.chat(turn.call.messages), turn.call.report)
        response = self._tools.chat_with_tools(
            list(tools), turn.user_msg, turn.history, *args, **kwargs
        )
        return with_report(response, turn.call.report)

    def stream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> ChatResponseGen:
        """`chat_with_tools` as a stream; the guard has finished when this returns."""
        turn = self._admit_turn(user_msg, chat_history, kwargs)
        if turn.call.blocked:
            refusal = turn.call.target.stream_chat(turn.call.messages)
            return stream_with_report(refusal, turn.call.report)
        stream = self._tools.stream_chat_with_tools(
            list(tools), turn.user_msg, turn.history, *args, **kwargs
        )
        return stream_with_report(stream, turn.call.report)

    async def achat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> ChatResponse:
        """`chat_with_tools` without blocking the event loop."""
        turn = await self._aadmit_turn(user_msg, chat_history, kwargs)
        if turn.call.blocked:
            return with_report(await turn.call.target.achat(turn.call.messages), turn.call.report)
        response = await self._tools.achat_with_tools(
            list(tools), turn.user_msg, turn.history, *args, **kwargs
        )
        return with_report(response, turn.call.report)

    async def astream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> ChatResponseAsyncGen:
        """`stream_chat_with_tools` without blocking the event loop."""
        turn = await self._aadmit_turn(user_msg, chat_history, kwargs)
        if turn.call.blocked:
            refusal = await turn.call.target.astream_chat(turn.call.messages)
            return astream_with_report(refusal, turn.call.report)
        stream = await self._tools.astream_chat_with_tools(
            list(tools), turn.user_msg, turn.history, *args, **kwargs
        )
        return astream_with_report(stream, turn.call.report)

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """The tool calls that the inner LLM finds in its answer; none for a blocked image."""
        if is_blocked(response):
            return []
        return self._tools.get_tool_calls_from_response(response, error_on_no_tool_call, **kwargs)

    def _prepare_chat_with_tools(
        self, *args: Any, tool_required: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        """The inner LLM's arguments of `chat`, which cleans the messages in them."""
        return self._tools._prepare_chat_with_tools_compat(
            *args, tool_required=tool_required, **kwargs
        )

    @property
    def _tools(self) -> FunctionCallingLLM:
        if not isinstance(self.llm, FunctionCallingLLM):
            raise ConfigError(
                f"{type(self.llm).__name__} does not call tools.",
                remedy="Construct GuardAlignGuardedLLM(llm=…): it chooses the right class.",
            )
        return self.llm
