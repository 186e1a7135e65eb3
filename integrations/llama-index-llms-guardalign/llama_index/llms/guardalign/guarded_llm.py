"""`GuardAlignGuardedLLM`: any LlamaIndex LLM behind the guard."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

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
from llama_index.core.llms.llm import LLM
from llama_index.core.tools.types import BaseTool

from guardalign_middleware import ImageGuard
from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.handling import OnBlocked, OnRefused, check_option
from guardalign_middleware.scan_threads import in_scan_thread
from llama_index.llms.guardalign.gate import Admitted, Gate
from llama_index.llms.guardalign.images import OptionalFetch, Resolver
from llama_index.llms.guardalign.messages import given_images, image_blocks
from llama_index.llms.guardalign.report import (
    KEY,
    Report,
    astream_with_report,
    stream_with_report,
    with_report,
)
from llama_index.llms.guardalign.turns import Refusals

# LlamaIndex reads these from the LLM that the user calls; they have to be the inner LLM's.
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
    """Any LlamaIndex LLM; every image is checked and cleaned before the LLM sees it.

    The images of all messages, in every role and in nested blocks, are scanned and replaced by the
    cleaned pixels before the inner LLM is called; the answer, the events and the callbacks are the
    inner LLM's. If an image is blocked, the inner LLM is not called, and the answer is the preset's
    `blocked_reply` with `finish_reason` "blocked". The verdicts are in
    `response.additional_kwargs["guardalign"]`, and in `response.raw["guardalign"]` if `raw` is a
    dictionary.

    Tools: around a `FunctionCallingLLM` the constructor returns a `GuardedFunctionCallingLLM`,
    which is itself a `FunctionCallingLLM`. `isinstance` and `metadata` therefore always agree with
    the inner LLM, as agents and programs expect. Messages are cleaned on their way into the inner
    LLM's own `chat_with_tools`.

    The bound arguments of a span, and the events of `predict`, still hold the caller's images.

    Args:
        llm: the inner LLM, which answers.
        preset: name of a built-in preset, or path of a YAML file; it needs no runner.
        guard: a loaded `ImageGuard` instead of a preset; the LLM then cannot be pickled.
        fetch: gets the bytes behind an http(s) URL and decides which hosts it may ask.
        allow_unscanned: whether videos and documents, whose pictures the guard cannot scan, reach
            the inner LLM. The report counts them as `unscanned`.
        on_refused: `raise` the error of an input that cannot be checked, or show a `notice` that
            names the cause. Both options govern what the user has just sent; older turns, tool
            results and answers of the model always get the notice.
        on_blocked: `reply` in the LLM's place to a blocked image, or show a `notice`.

    Example:
        ```python
        from llama_index.llms.guardalign import GuardAlignGuardedLLM

        llm = GuardAlignGuardedLLM(llm=OpenAI(model="gpt-4o"), preset="clip-vit-l-14-336")
        agent = FunctionAgent(llm=llm, tools=[screenshot])
        ```
    """

    model_config = ConfigDict(extra="forbid")

    llm: SerializeAsAny[LLM] = Field(description="The LLM that answers.")
    preset: str | None = Field(
        default="mini",
        description="Name of a built-in preset, or path of a YAML file; None with a guard.",
    )
    allow_unscanned: bool = Field(
        default=False, description="Whether videos and documents reach the LLM unscanned."
    )
    on_refused: OnRefused = Field(
        default="raise",
        description="What happens to an input of the user's last turn that cannot be checked. "
        "raise: raise the error. notice: show a text that names the cause.",
    )
    on_blocked: OnBlocked = Field(
        default="reply",
        description="What happens to a blocked image of the user's last turn. reply: answer with "
        "the preset's blocked_reply. notice: show a text in its place.",
    )
    fetch: OptionalFetch = None

    _lazy: LazyGuard = PrivateAttr()
    _refusals: Refusals = PrivateAttr(default_factory=Refusals)

    def __new__(cls, *args: Any, **data: Any) -> GuardAlignGuardedLLM:
        """Choose the class that fits the inner LLM."""
        if cls is GuardAlignGuardedLLM and isinstance(data.get("llm"), FunctionCallingLLM):
            # Imported here because it is a subclass of this class.
            from llama_index.llms.guardalign.function_calling import GuardedFunctionCallingLLM

            return super().__new__(GuardedFunctionCallingLLM)
        return super().__new__(cls)

    def __init__(self, *, llm: LLM, guard: ImageGuard | None = None, **data: Any) -> None:
        if guard is not None:
            data.setdefault("preset", None)
        for name in _INHERITED:
            data.setdefault(name, getattr(llm, name))
        check_option("on_refused", data.get("on_refused", "raise"), get_args(OnRefused))
        check_option("on_blocked", data.get("on_blocked", "reply"), get_args(OnBlocked))
        super().__init__(llm=llm, **data)
        self._lazy = LazyGuard(preset=self.preset, guard=guard)
        self.llm.callback_manager = self.callback_manager

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "callback_manager":
            # The events are the inner LLM's, so it needs the listeners.
            self.llm.callback_manager = value

    def __getstate__(self) -> dict[str, Any]:
        # LlamaIndex silently drops attributes that cannot be pickled; raise instead.
        self._lazy.require_preset()
        pickle.dumps((self.llm, self.fetch))
        return super().__getstate__()

    @classmethod
    def class_name(cls) -> str:
        """Contains "multi", by which LlamaIndex recognizes an LLM that accepts images."""
        return "guardalign_guarded_multi_modal_llm"

    @property
    def metadata(self) -> LLMMetadata:
        """The inner LLM's metadata."""
        return self.llm.metadata

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Clean every image of a conversation, then let the inner LLM answer.

        Raises:
            ImageRejected: an image that the intake policy does not accept.
            MessageError: an unknown block, or one that cannot be scanned.
            GuardError: a fault while guarding; the inner LLM was not called.
        """
        call = self._gate.admit(messages, kwargs)
        return with_report(call.target.chat(call.messages, **call.kwargs), call.report)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """`chat` as a stream; the guard has finished when this returns."""
        call = self._gate.admit(messages, kwargs)
        stream = call.target.stream_chat(call.messages, **call.kwargs)
        return stream_with_report(stream, call.report)

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """`chat` without blocking the event loop."""
        call = await in_scan_thread(self._gate.admit, messages, kwargs)
        return with_report(await call.target.achat(call.messages, **call.kwargs), call.report)

    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """`stream_chat` without blocking the event loop."""
        call = await in_scan_thread(self._gate.admit, messages, kwargs)
        stream = await call.target.astream_chat(call.messages, **call.kwargs)
        return astream_with_report(stream, call.report)

    def complete(
        self,
        prompt: str,
        formatted: bool | Sequence[Any] = False,
        image_documents: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> CompletionResponse:
        """Answer a prompt; with images it becomes a chat, where LLMs accept them.

        Args:
            prompt: the question.
            formatted: whether the prompt needs no further formatting; a list here is taken as
                `image_documents`.
            image_documents: each an `ImageBlock`, `ImageNode`, `ImageDocument`, or `Node`.
            kwargs: see `chat`, also for the errors.
        """
        images = given_images(formatted, image_documents)
        call = self._gate.admit(_turn(prompt, images), kwargs)
        if not images:
            answer = self.llm.complete(_prompt(call), formatted=bool(formatted), **kwargs)
            return with_report(answer, call.report)
        response = call.target.chat(call.messages, **call.kwargs)
        return with_report(chat_response_to_completion_response(response), call.report)

    def stream_complete(
        self,
        prompt: str,
        formatted: bool | Sequence[Any] = False,
        image_documents: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> CompletionResponseGen:
        """`complete` as a stream; the guard has finished when this returns."""
        images = given_images(formatted, image_documents)
        call = self._gate.admit(_turn(prompt, images), kwargs)
        if not images:
            answer = self.llm.stream_complete(_prompt(call), formatted=bool(formatted), **kwargs)
            return stream_with_report(answer, call.report)
        stream = call.target.stream_chat(call.messages, **call.kwargs)
        return stream_with_report(stream_chat_response_to_completion_response(stream), call.report)

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
        call = await in_scan_thread(self._gate.admit, turn, kwargs)
        if not images:
            answer = await self.llm.acomplete(_prompt(call), formatted=bool(formatted), **kwargs)
            return with_report(answer, call.report)
        response = await call.target.achat(call.messages, **call.kwargs)
        return with_report(chat_response_to_completion_response(response), call.report)

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
        call = await in_scan_thread(self._gate.admit, turn, kwargs)
        if not images:
            answer = await self.llm.astream_complete(
                _prompt(call), formatted=bool(formatted), **kwargs
            )
            return astream_with_report(answer, call.report)
        stream = await call.target.astream_chat(call.messages, **call.kwargs)
        answer = astream_chat_response_to_completion_response(stream)
        return astream_with_report(answer, call.report)

    def predict_and_call(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> AgentChatResponse:
        """Let the inner LLM choose and call a tool; after a blocked image no tool is called."""
        turn = self._gate.admit_turn(user_msg, chat_history, kwargs)
        if turn.call.blocked:
            refusal = turn.call.target.chat(turn.call.messages)
            return _reported(AgentChatResponse(refusal.message.content or ""), turn.call.report)
        inner = self.llm.predict_and_call(list(tools), turn.user_msg, turn.history, *args, **kwargs)
        return _reported(inner, turn.call.report)

    async def apredict_and_call(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> AgentChatResponse:
        """`predict_and_call` without blocking the event loop."""
        turn = await in_scan_thread(self._gate.admit_turn, user_msg, chat_history, kwargs)
        if turn.call.blocked:
            refusal = await turn.call.target.achat(turn.call.messages)
            return _reported(AgentChatResponse(refusal.message.content or ""), turn.call.report)
        inner = await self.llm.apredict_and_call(
            list(tools), turn.user_msg, turn.history, *args, **kwargs
        )
        return _reported(inner, turn.call.report)

    @property
    def _gate(self) -> Gate:
        resolve = Resolver(self._lazy.config.intake, self.fetch)
        return Gate(
            self,
            self.llm,
            self._lazy,
            resolve,
            self.allow_unscanned,
            self.on_refused,
            self.on_blocked,
            self._refusals,
        )


def _turn(prompt: str, images: Sequence[Any]) -> list[ChatMessage]:
    blocks = [*image_blocks(images), TextBlock(text=prompt)]
    return [ChatMessage(role=MessageRole.USER, blocks=blocks)]


def _prompt(call: Admitted) -> str:
    """The prompt of a `_turn` without images, after the guard."""
    return call.messages[0].content or ""


def _reported(response: AgentChatResponse, report: Report) -> AgentChatResponse:
    return replace(response, metadata={**(response.metadata or {}), KEY: report})
