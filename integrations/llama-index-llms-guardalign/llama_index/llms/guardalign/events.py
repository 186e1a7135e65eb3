"""One guarded call as LlamaIndex's callbacks see it, and the responses that come of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

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
    MessageRole,
)
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.llm import LLM

from guardalign_middleware import GuardedStream
from guardalign_middleware.types import GuardedReply


class GuardedCall:
    """One call as LlamaIndex's callbacks see it: what they are handed is cleaned already.

    The decorated methods take messages or a prompt only because the callbacks read them there.

    Args:
        llm: what is called; its listeners hear of it.
        messages: cleaned.
        answer: starts the answer; it can be stopped.
        reply: the same answer at once, without the thread that a stream needs.
        areply: the same without blocking the event loop.
    """

    def __init__(
        self,
        llm: LLM,
        messages: list[ChatMessage],
        answer: Callable[[], GuardedStream],
        reply: Callable[[], GuardedReply],
        areply: Callable[[], Awaitable[GuardedReply]],
    ) -> None:
        self.messages = messages
        self.callback_manager = llm.callback_manager
        self.rate_limiter = llm.rate_limiter
        self.to_payload = llm.to_payload
        self._answer = answer
        self._reply = reply
        self._areply = areply

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage]) -> ChatResponse:
        """Answer at once."""
        return _whole(self._reply())

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage]) -> ChatResponseGen:
        """Answer piece by piece."""
        return _pieces(self._answer())

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage]) -> ChatResponse:
        """`chat` without blocking the event loop."""
        return _whole(await self._areply())

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage]) -> ChatResponseAsyncGen:
        """`stream_chat` without blocking the event loop."""
        return _apieces(await asyncio.to_thread(self._answer))

    @llm_completion_callback()
    def complete(self, prompt: str) -> CompletionResponse:
        """`chat` as a completion."""
        return chat_response_to_completion_response(_whole(self._reply()))

    @llm_completion_callback()
    def stream_complete(self, prompt: str) -> CompletionResponseGen:
        """`stream_chat` as a completion."""
        return stream_chat_response_to_completion_response(_pieces(self._answer()))

    @llm_completion_callback()
    async def acomplete(self, prompt: str) -> CompletionResponse:
        """`achat` as a completion."""
        return chat_response_to_completion_response(_whole(await self._areply()))

    @llm_completion_callback()
    async def astream_complete(self, prompt: str) -> CompletionResponseAsyncGen:
        """`astream_chat` as a completion."""
        stream = await asyncio.to_thread(self._answer)
        return astream_chat_response_to_completion_response(_apieces(stream))


def _whole(reply: GuardedReply) -> ChatResponse:
    return _response(reply.text, None, reply)


def _pieces(stream: GuardedStream) -> ChatResponseGen:
    text = ""
    with stream:
        for chunk in stream:
            text += chunk.text
            yield _response(text, chunk.text, chunk.reply)


async def _apieces(stream: GuardedStream) -> ChatResponseAsyncGen:
    text = ""
    try:
        async for chunk in stream:
            text += chunk.text
            yield _response(text, chunk.text, chunk.reply)
    finally:
        await stream.aclose()


def _response(text: str, delta: str | None, reply: GuardedReply | None) -> ChatResponse:
    """An answer so far; with a reply it is the whole one, and `raw` holds the evidence."""
    message = ChatMessage(role=MessageRole.ASSISTANT, content=text)
    if reply is None:
        return ChatResponse(message=message, delta=delta)
    return ChatResponse(
        message=message,
        delta=delta,
        raw={"guardalign": reply.to_json()},
        additional_kwargs={
            "prompt_tokens": reply.usage.input_tokens,
            "completion_tokens": reply.usage.output_tokens,
            "total_tokens": reply.usage.total_tokens,
        },
    )
