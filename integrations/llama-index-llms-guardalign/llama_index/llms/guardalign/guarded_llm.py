"""`GuardAlignGuardedLLM`: any LlamaIndex LLM behind the guard."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
)
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.chat_engine.types import AgentChatResponse
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM
from llama_index.core.llms.structured_llm import StructuredLLM
from llama_index.core.prompts import BasePromptTemplate
from llama_index.core.tools.types import BaseTool
from llama_index.core.types import Model

from llama_index.llms.guardalign.arguments import given_images, question
from llama_index.llms.guardalign.inner_llm import AroundLLM
from llama_index.llms.guardalign.report import (
    KEY,
    Report,
    astream_with_report,
    stream_with_report,
    with_report,
)
from llama_index.llms.guardalign.structured import (
    CleanedPrompt,
    Formatted,
    GuardedStructuredLLM,
)

if TYPE_CHECKING:
    from guardalign_middleware.handles import AnyGuard


class GuardAlignGuardedLLM(AroundLLM):
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

    Structured answers are the inner LLM's own (`format`, `response_format`, tool calls, text), from
    cleaned messages. Its plain settings, such as `model` or `temperature`, can be read here; its
    methods and clients only at `.llm`, which is not guarded. Settings that every LLM has, such as
    `system_prompt`, are the inner LLM's too; where you give others, this LLM uses a copy of it.

    The bound arguments of a span, and the events of `predict`, still hold the caller's images.

    Args:
        llm: the inner LLM, which answers.
        preset: name of a built-in preset, or path of a YAML file; it needs no runner. There is no
            default: give a preset or a guard, by name or as the second argument.
        guard: a loaded `ImageGuard` instead of a preset; the LLM then cannot be pickled.
        fetch: gets the bytes behind an http(s) URL and decides which hosts it may ask.
        allow_unscanned: whether videos and documents, whose pictures the guard cannot scan, reach
            the inner LLM. The report counts them as `unscanned`.
        on_refused: `raise` the error of an input that cannot be checked, or show a `notice` that
            names the cause. Both options govern what the user has just sent; older turns, tool
            results and answers of the model always get the notice.
        on_blocked: `reply` in the LLM's place to a blocked image, or show a `notice`. Where a reply
            has no place, as in a structured answer, `ImageBlocked` is raised.
        rate_limiter: is asked before each call of the inner LLM, beside the inner LLM's own.

    Raises:
        ConfigError: neither a preset nor a guard, an unknown keyword, or an `llm` that is none.

    Example:
        ```python
        from llama_index.llms.guardalign import GuardAlignGuardedLLM

        llm = GuardAlignGuardedLLM(llm=OpenAI(model="gpt-4o"), preset="guard.yaml")
        agent = FunctionAgent(llm=llm, tools=[screenshot])
        ```
    """

    def __new__(cls, *args: Any, **data: Any) -> GuardAlignGuardedLLM:
        """Choose the class that fits the inner LLM."""
        inner = args[0] if args else data.get("llm")
        if cls is GuardAlignGuardedLLM and isinstance(inner, FunctionCallingLLM):
            # Imported here because it is a subclass of this class.
            from llama_index.llms.guardalign.function_calling import GuardedFunctionCallingLLM

            return super().__new__(GuardedFunctionCallingLLM)
        return super().__new__(cls)

    def __init__(
        self, llm: LLM | None = None, source: AnyGuard | str | Path | None = None, /, **data: Any
    ) -> None:
        # Repeated for type checkers: pydantic's mypy plugin would show the fields only.
        super().__init__(llm, source, **data)

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
        call = self._admit(messages, kwargs)
        return with_report(call.target.chat(call.messages, **call.kwargs), call.report)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """`chat` as a stream; the guard has finished when this returns."""
        call = self._admit(messages, kwargs)
        stream = call.target.stream_chat(call.messages, **call.kwargs)
        return stream_with_report(stream, call.report)

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """`chat` without blocking the event loop."""
        call = await self._aadmit(messages, kwargs)
        return with_report(await call.target.achat(call.messages, **call.kwargs), call.report)

    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """`stream_chat` without blocking the event loop."""
        call = await self._aadmit(messages, kwargs)
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
        call = self._admit(question(prompt, images), kwargs)
        if not images:
            answer = self.llm.complete(call.prompt, formatted=bool(formatted), **kwargs)
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
        call = self._admit(question(prompt, images), kwargs)
        if not images:
            answer = self.llm.stream_complete(call.prompt, formatted=bool(formatted), **kwargs)
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
        call = await self._aadmit(question(prompt, images), kwargs)
        if not images:
            answer = await self.llm.acomplete(call.prompt, formatted=bool(formatted), **kwargs)
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
        call = await self._aadmit(question(prompt, images), kwargs)
        if not images:
            answer = await self.llm.astream_complete(
                call.prompt, formatted=bool(formatted), **kwargs
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
        turn = self._admit_turn(user_msg, chat_history, kwargs)
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
        turn = await self._aadmit_turn(user_msg, chat_history, kwargs)
        if turn.call.blocked:
            refusal = await turn.call.target.achat(turn.call.messages)
            return _reported(AgentChatResponse(refusal.message.content or ""), turn.call.report)
        inner = await self.llm.apredict_and_call(
            list(tools), turn.user_msg, turn.history, *args, **kwargs
        )
        return _reported(inner, turn.call.report)

    def structured_predict(
        self,
        output_cls: type[Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """Let the inner LLM fill a schema in its own way, from a cleaned prompt.

        Raises:
            ImageBlocked: an image is blocked; the inner LLM was not called.
            ImageRejected, MessageError, GuardError: see `chat`.
        """
        cleaned, kwargs = self._admit_prompt(prompt, prompt_args, llm_kwargs)
        return self.llm.structured_predict(output_cls, cleaned, llm_kwargs=kwargs)

    async def astructured_predict(
        self,
        output_cls: type[Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """`structured_predict` without blocking the event loop."""
        cleaned, kwargs = await self._aadmit_prompt(prompt, prompt_args, llm_kwargs)
        return await self.llm.astructured_predict(output_cls, cleaned, llm_kwargs=kwargs)

    def stream_structured_predict(
        self,
        output_cls: type[Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        """`structured_predict` as a stream; the guard has finished when this returns."""
        cleaned, kwargs = self._admit_prompt(prompt, prompt_args, llm_kwargs)
        return self.llm.stream_structured_predict(output_cls, cleaned, llm_kwargs=kwargs)

    async def astream_structured_predict(
        self,
        output_cls: type[Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        """`stream_structured_predict` without blocking the event loop."""
        cleaned, kwargs = await self._aadmit_prompt(prompt, prompt_args, llm_kwargs)
        return await self.llm.astream_structured_predict(output_cls, cleaned, llm_kwargs=kwargs)

    def as_structured_llm(self, output_cls: type[BaseModel], **kwargs: Any) -> StructuredLLM:
        """A guarded LLM whose every answer is an object; its events hold cleaned messages."""
        return GuardedStructuredLLM(llm=self, output_cls=output_cls, **kwargs)

    def _admit_prompt(
        self, prompt: object, args: Mapping[str, Any], llm_kwargs: Mapping[str, Any] | None
    ) -> tuple[CleanedPrompt, dict[str, Any]]:
        formatted = Formatted(prompt, args, self.llm)
        call = self._admit(formatted.messages, dict(llm_kwargs or {}))
        return formatted.cleaned(call, self._lazy.config.blocked_reply), call.kwargs

    async def _aadmit_prompt(
        self, prompt: object, args: Mapping[str, Any], llm_kwargs: Mapping[str, Any] | None
    ) -> tuple[CleanedPrompt, dict[str, Any]]:
        formatted = Formatted(prompt, args, self.llm)
        call = await self._aadmit(formatted.messages, dict(llm_kwargs or {}))
        return formatted.cleaned(call, self._lazy.config.blocked_reply), call.kwargs


def _reported(response: AgentChatResponse, report: Report) -> AgentChatResponse:
    return replace(response, metadata={**(response.metadata or {}), KEY: report})
