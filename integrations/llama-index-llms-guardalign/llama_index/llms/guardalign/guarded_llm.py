"""`GuardAlignGuardedLLM`: any LlamaIndex LLM, with the guard in front of it."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llama_index.core.base.llms.generic_utils import (
    astream_chat_response_to_completion_response,
    chat_response_to_completion_response,
    stream_chat_response_to_completion_response,
)
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
    TextBlock,
)
from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr, SerializeAsAny
from llama_index.core.chat_engine.types import AgentChatResponse
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM, ToolSelection
from llama_index.core.tools.types import BaseTool

from guardalign_middleware import ConfigError, ImageGuard
from guardalign_middleware.handles import LazyGuard
from llama_index.llms.guardalign.gate import Checker
from llama_index.llms.guardalign.images import OptionalFetch, Resolver
from llama_index.llms.guardalign.messages import given_images, image_blocks
from llama_index.llms.guardalign.report import (
    KEY,
    Report,
    is_blocked,
    mark,
    mark_all,
    mark_all_async,
)

# What `predict` and its kin read from the LLM itself; they have to act as the inner LLM's would.
_INHERITED = (
    "callback_manager",
    "system_prompt",
    "messages_to_prompt",
    "completion_to_prompt",
    "output_parser",
    "pydantic_program_mode",
    "query_wrapper_prompt",
)


class GuardAlignGuardedLLM(LLM):
    """Any LlamaIndex LLM, which gets to see only images that were checked and cleaned.

    Every image of every message, in every role and in nested blocks, is scanned and replaced by
    the cleaned pixels before the inner LLM is called; its answer, its events and its callbacks are
    its own. Where an image is blocked, the inner LLM is not called, and the answer is the preset's
    `blocked_reply`, with `finish_reason` "blocked". The verdicts are in
    `response.additional_kwargs["guardalign"]`, and also in `response.raw["guardalign"]` where `raw`
    is a dictionary.

    Tools: around a `FunctionCallingLLM`, the constructor returns a `GuardedFunctionCallingLLM`,
    a subclass that is one as well. So `isinstance` and `metadata` always say the same as those of
    the inner LLM, as agents and programs expect: `FunctionAgent` works, and no consumer takes a
    plain LLM for one that calls tools. Messages are cleaned on their way into the inner LLM's own
    `chat_with_tools`, whatever a provider does in there.

    A span's bound arguments, and the events of `predict`, still hold what the caller passed.

    Args:
        llm: answers; whatever it may be.
        preset: name of a shipped preset, or path of a YAML file; it needs no runner.
        guard: a loaded `ImageGuard` to use instead; such an LLM cannot be pickled.
        fetch: gets the bytes behind an http(s) URL; it decides which hosts may be asked.
        allow_unscanned: whether videos and documents, in which no guard sees the pictures, go to
            the LLM all the same. They are counted in the report as `unscanned`.

    Example:
        ```python
        from llama_index.llms.guardalign import GuardAlignGuardedLLM

        llm = GuardAlignGuardedLLM(llm=OpenAI(model="gpt-4o"), preset="clip-vit-l-14-336")
        agent = FunctionAgent(llm=llm, tools=[screenshot])
        ```
    """

    model_config = ConfigDict(extra="forbid")

    llm: SerializeAsAny[LLM] = Field(description="Answers, once the images are clean.")
    preset: str | None = Field(
        default="mini",
        description="Name of a shipped preset, or path of a YAML file; None with a guard.",
    )
    allow_unscanned: bool = Field(
        default=False, description="Whether videos and documents go to the LLM unseen."
    )
    fetch: OptionalFetch = Field(
        default=None,
        exclude=True,
        description="Gets the image behind a URL; None = as the intake policy says.",
    )

    _lazy: LazyGuard = PrivateAttr()

    def __new__(cls, *args: Any, **data: Any) -> GuardAlignGuardedLLM:
        """The class that fits the inner LLM."""
        if cls is GuardAlignGuardedLLM and isinstance(data.get("llm"), FunctionCallingLLM):
            return super().__new__(GuardedFunctionCallingLLM)
        return super().__new__(cls)

    def __init__(self, *, llm: LLM, guard: ImageGuard | None = None, **data: Any) -> None:
        if guard is not None:
            data.setdefault("preset", None)
        for name in _INHERITED:
            data.setdefault(name, getattr(llm, name))
        super().__init__(llm=llm, **data)
        self._lazy = LazyGuard(preset=self.preset, guard=guard)
        self.llm.callback_manager = self.callback_manager

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "callback_manager":
            # The events are the inner LLM's, so it has to know who listens.
            self.llm.callback_manager = value

    def __getstate__(self) -> dict[str, Any]:
        # LlamaIndex drops what cannot be pickled, from this very object too: rather an error.
        self._lazy.require_preset()
        pickle.dumps((self.llm, self.fetch))
        return super().__getstate__()

    @classmethod
    def class_name(cls) -> str:
        """Contains "multi", by which LlamaIndex knows that images are welcome."""
        return "guardalign_guarded_multi_modal_llm"

    @property
    def metadata(self) -> LLMMetadata:
        """The inner LLM's."""
        return self.llm.metadata

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Clean every image of a conversation, then let the inner LLM answer.

        Raises:
            ImageRejected: an image that the intake policy does not accept.
            MessageError: a block that is not known, or that shows what no guard can see.
            GuardError: a fault while guarding; the inner LLM was not called.
        """
        call = self._checker.check(messages, kwargs)
        return mark(call.target.chat(call.messages, **call.kwargs), call.report)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """`chat` piece by piece; the guard has finished when this returns."""
        call = self._checker.check(messages, kwargs)
        return mark_all(call.target.stream_chat(call.messages, **call.kwargs), call.report)

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """`chat` without blocking the event loop."""
        call = await asyncio.to_thread(self._checker.check, messages, kwargs)
        return mark(await call.target.achat(call.messages, **call.kwargs), call.report)

    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """`stream_chat` without blocking the event loop."""
        call = await asyncio.to_thread(self._checker.check, messages, kwargs)
        stream = await call.target.astream_chat(call.messages, **call.kwargs)
        return mark_all_async(stream, call.report)

    def complete(
        self,
        prompt: str,
        formatted: bool | Sequence[Any] = False,
        image_documents: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> CompletionResponse:
        """Answer a prompt; with images it becomes a chat, for there LLMs look at them.

        Args:
            prompt: the question.
            formatted: whether the prompt needs no further formatting; a list in this place is
                `image_documents`.
            image_documents: each an `ImageBlock`, `ImageNode`, `ImageDocument`, or `Node`.
            kwargs: as for `chat`, and so are the errors.
        """
        images = given_images(formatted, image_documents)
        call = self._checker.check(_turn(prompt, images), kwargs)
        if not images:
            return mark(self.llm.complete(prompt, formatted=bool(formatted), **kwargs), call.report)
        response = call.target.chat(call.messages, **call.kwargs)
        return mark(chat_response_to_completion_response(response), call.report)

    def stream_complete(
        self,
        prompt: str,
        formatted: bool | Sequence[Any] = False,
        image_documents: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> CompletionResponseGen:
        """`complete` piece by piece; the guard has finished when this returns."""
        images = given_images(formatted, image_documents)
        call = self._checker.check(_turn(prompt, images), kwargs)
        if not images:
            answer = self.llm.stream_complete(prompt, formatted=bool(formatted), **kwargs)
            return mark_all(answer, call.report)
        stream = call.target.stream_chat(call.messages, **call.kwargs)
        return mark_all(stream_chat_response_to_completion_response(stream), call.report)

    async def acomplete(
        self,
        prompt: str,
        formatted: bool | Sequence[Any] = False,
        image_documents: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> CompletionResponse:
        """`complete` without blocking the event loop."""
        images = given_images(formatted, image_documents)
        turn = _turn(prompt, images)
        call = await asyncio.to_thread(self._checker.check, turn, kwargs)
        if not images:
            answer = await self.llm.acomplete(prompt, formatted=bool(formatted), **kwargs)
            return mark(answer, call.report)
        response = await call.target.achat(call.messages, **call.kwargs)
        return mark(chat_response_to_completion_response(response), call.report)

    async def astream_complete(
        self,
        prompt: str,
        formatted: bool | Sequence[Any] = False,
        image_documents: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> CompletionResponseAsyncGen:
        """`stream_complete` without blocking the event loop."""
        images = given_images(formatted, image_documents)
        turn = _turn(prompt, images)
        call = await asyncio.to_thread(self._checker.check, turn, kwargs)
        if not images:
            answer = await self.llm.astream_complete(prompt, formatted=bool(formatted), **kwargs)
            return mark_all_async(answer, call.report)
        stream = await call.target.astream_chat(call.messages, **call.kwargs)
        return mark_all_async(astream_chat_response_to_completion_response(stream), call.report)

    def predict_and_call(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> AgentChatResponse:
        """Let the inner LLM choose a tool and call it; a blocked image calls none."""
        turn = self._checker.check_turn(user_msg, chat_history, kwargs)
        if turn.call.blocked:
            refusal = turn.call.target.chat(turn.call.messages)
            return _told(AgentChatResponse(refusal.message.content or ""), turn.call.report)
        inner = self.llm.predict_and_call(list(tools), turn.user_msg, turn.history, *args, **kwargs)
        return _told(inner, turn.call.report)

    async def apredict_and_call(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> AgentChatResponse:
        """`predict_and_call` without blocking the event loop."""
        turn = await asyncio.to_thread(self._checker.check_turn, user_msg, chat_history, kwargs)
        if turn.call.blocked:
            refusal = await turn.call.target.achat(turn.call.messages)
            return _told(AgentChatResponse(refusal.message.content or ""), turn.call.report)
        inner = await self.llm.apredict_and_call(
            list(tools), turn.user_msg, turn.history, *args, **kwargs
        )
        return _told(inner, turn.call.report)

    @property
    def _checker(self) -> Checker:
        resolve = Resolver(self._lazy.config.intake, self.fetch)
        return Checker(self, self.llm, self._lazy, resolve, self.allow_unscanned)


class GuardedFunctionCallingLLM(GuardAlignGuardedLLM, FunctionCallingLLM):
    """What `GuardAlignGuardedLLM` is around an LLM that calls tools."""

    def chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> ChatResponse:
        """`chat` that may answer with tool calls; a blocked image never leads to one."""
        turn = self._checker.check_turn(user_msg, chat_history, kwargs)
        if turn.call.blocked:
            return mark(turn.call.target.chat(turn.call.messages), turn.call.report)
        response = self._tools.chat_with_tools(tools, turn.user_msg, turn.history, *args, **kwargs)
        return mark(response, turn.call.report)

    def stream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> ChatResponseGen:
        """`chat_with_tools` piece by piece; the guard has finished when this returns."""
        turn = self._checker.check_turn(user_msg, chat_history, kwargs)
        if turn.call.blocked:
            return mark_all(turn.call.target.stream_chat(turn.call.messages), turn.call.report)
        stream = self._tools.stream_chat_with_tools(
            tools, turn.user_msg, turn.history, *args, **kwargs
        )
        return mark_all(stream, turn.call.report)

    async def achat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> ChatResponse:
        """`chat_with_tools` without blocking the event loop."""
        turn = await asyncio.to_thread(self._checker.check_turn, user_msg, chat_history, kwargs)
        if turn.call.blocked:
            return mark(await turn.call.target.achat(turn.call.messages), turn.call.report)
        response = await self._tools.achat_with_tools(
            tools, turn.user_msg, turn.history, *args, **kwargs
        )
        return mark(response, turn.call.report)

    async def astream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> ChatResponseAsyncGen:
        """`stream_chat_with_tools` without blocking the event loop."""
        turn = await asyncio.to_thread(self._checker.check_turn, user_msg, chat_history, kwargs)
        if turn.call.blocked:
            refusal = await turn.call.target.astream_chat(turn.call.messages)
            return mark_all_async(refusal, turn.call.report)
        stream = await self._tools.astream_chat_with_tools(
            tools, turn.user_msg, turn.history, *args, **kwargs
        )
        return mark_all_async(stream, turn.call.report)

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """The inner LLM's reading of its own answer; none in the answer to a blocked image."""
        if is_blocked(response):
            return []
        return self._tools.get_tool_calls_from_response(response, error_on_no_tool_call, **kwargs)

    def _prepare_chat_with_tools(
        self, *args: Any, tool_required: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        """For whoever calls it directly: what it returns goes into `chat`, which cleans it."""
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


def _turn(prompt: str, images: Sequence[Any]) -> list[ChatMessage]:
    blocks = [*image_blocks(images), TextBlock(text=prompt)]
    return [ChatMessage(role=MessageRole.USER, blocks=blocks)]


def _told(response: AgentChatResponse, report: Report) -> AgentChatResponse:
    return replace(response, metadata={**(response.metadata or {}), KEY: report})
