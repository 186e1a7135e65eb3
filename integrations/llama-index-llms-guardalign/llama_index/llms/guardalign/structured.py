"""Structured answers of the inner LLM, in its own way, from a cleaned prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.generic_utils import prompt_to_messages
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    MessageRole,
    TextBlock,
)
from llama_index.core.llms.llm import LLM
from llama_index.core.llms.structured_llm import StructuredLLM
from llama_index.core.prompts.base import BasePromptTemplate, ChatPromptTemplate
from llama_index.core.types import BaseOutputParser

from guardalign_middleware.errors import MessageError
from llama_index.llms.guardalign.errors import ImageBlocked
from llama_index.llms.guardalign.gate import Admitted
from llama_index.llms.guardalign.inner_llm import AroundLLM
from llama_index.llms.guardalign.report import (
    astream_with_report,
    stream_with_report,
    with_report,
)


class CleanedPrompt(ChatPromptTemplate):  # type: ignore[no-redef]
    """A prompt of cleaned messages, to which only the instructions of a parser are added."""

    text: str | None = None

    def __init__(
        self,
        messages: Sequence[ChatMessage],
        output_parser: BaseOutputParser | None = None,
        text: str | None = None,
    ) -> None:
        # Not the template's own: it searches the messages for variables, and there are none.
        super(ChatPromptTemplate, self).__init__(
            message_templates=list(messages),
            output_parser=output_parser,
            kwargs={},
            metadata={},
            template_vars=[],
        )
        self.text = text

    def format_messages(self, llm: BaseLLM | None = None, **kwargs: Any) -> list[ChatMessage]:
        """The messages. The copies are the caller's: parsers write into the text blocks."""
        if self.text is not None:
            return prompt_to_messages(self.format())
        copies = [
            message.model_copy(
                update={
                    "blocks": [
                        block.model_copy() if isinstance(block, TextBlock) else block
                        for block in message.blocks
                    ]
                }
            )
            for message in self.message_templates
        ]
        return copies if self.output_parser is None else self.output_parser.format_messages(copies)

    def format(
        self,
        llm: BaseLLM | None = None,
        messages_to_prompt: Callable[[Sequence[ChatMessage]], str] | None = None,
        **kwargs: Any,
    ) -> str:
        """The prompt of an LLM that does not chat."""
        if self.text is None:
            return super().format(llm, messages_to_prompt)
        return self.text if self.output_parser is None else self.output_parser.format(self.text)


class Formatted:
    """A prompt with its arguments filled in, before and after the guard.

    Args:
        prompt: the caller's prompt, which stays unchanged.
        args: the values of its variables.
        llm: the inner LLM, by which prompts choose their variant.

    Raises:
        MessageError: it is no prompt.
    """

    def __init__(self, prompt: object, args: Mapping[str, Any], llm: LLM) -> None:
        if not isinstance(prompt, BasePromptTemplate):
            raise MessageError(
                f"prompt should be a prompt template. Received a {type(prompt).__name__}.",
                remedy="Wrap text as PromptTemplate(text).",
            )
        self._parser = prompt.output_parser
        # The parser's instructions come last, from the inner LLM's own program.
        bare = prompt.model_copy(update={"output_parser": None})
        self._is_text = not llm.metadata.is_chat_model
        if self._is_text:
            self.messages = _question(bare.format(llm=llm, **args))
        else:
            self.messages = bare.format_messages(llm=llm, **args)

    def cleaned(self, call: Admitted, blocked_reply: str) -> CleanedPrompt:
        """The prompt for the inner LLM.

        Raises:
            ImageBlocked: an image is blocked.
        """
        if call.blocked:
            raise ImageBlocked(blocked_reply, call.report)
        return CleanedPrompt(call.messages, self._parser, call.prompt if self._is_text else None)


class GuardedStructuredLLM(StructuredLLM):
    """A `StructuredLLM` around a guarded LLM; its events hold cleaned messages only.

    Every call raises `ImageBlocked` if an image is blocked.
    """

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The object as the response's `raw`."""
        call = self._open(self._guard._admit(messages, kwargs))
        return with_report(self._inner.chat(call.messages, **call.kwargs), call.report)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """`chat` as a stream; the guard has finished when this returns."""
        call = self._open(self._guard._admit(messages, kwargs))
        stream = self._inner.stream_chat(call.messages, **call.kwargs)
        return stream_with_report(stream, call.report)

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """`chat` without blocking the event loop."""
        call = self._open(await self._guard._aadmit(messages, kwargs))
        return with_report(await self._inner.achat(call.messages, **call.kwargs), call.report)

    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """`stream_chat` without blocking the event loop."""
        call = self._open(await self._guard._aadmit(messages, kwargs))
        stream = await self._inner.astream_chat(call.messages, **call.kwargs)
        return astream_with_report(stream, call.report)

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """The object as text."""
        call = self._open(self._guard._admit(_question(prompt), kwargs))
        answer = self._inner.complete(call.prompt, formatted, **call.kwargs)
        return with_report(answer, call.report)

    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        """`complete` without blocking the event loop."""
        call = self._open(await self._guard._aadmit(_question(prompt), kwargs))
        answer = await self._inner.acomplete(call.prompt, formatted, **call.kwargs)
        return with_report(answer, call.report)

    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        """As the inner LLM's; LlamaIndex's own does not support it."""
        call = self._open(self._guard._admit(_question(prompt), kwargs))
        stream = self._inner.stream_complete(call.prompt, formatted, **call.kwargs)
        return stream_with_report(stream, call.report)

    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        """As the inner LLM's; LlamaIndex's own does not support it."""
        call = self._open(await self._guard._aadmit(_question(prompt), kwargs))
        stream = await self._inner.astream_complete(call.prompt, formatted, **call.kwargs)
        return astream_with_report(stream, call.report)

    def _open(self, call: Admitted) -> Admitted:
        if call.blocked:
            raise ImageBlocked(self._guard._lazy.config.blocked_reply, call.report)
        return call

    @property
    def _guard(self) -> AroundLLM:
        return cast("AroundLLM", self.llm)

    @property
    def _inner(self) -> StructuredLLM:
        own = {"callback_manager", "rate_limiter"} & self.model_fields_set
        fields = {name: getattr(self, name) for name in own}
        return self._guard.llm.as_structured_llm(self.output_cls, **fields)


def _question(prompt: str) -> list[ChatMessage]:
    return [ChatMessage(role=MessageRole.USER, content=prompt)]
