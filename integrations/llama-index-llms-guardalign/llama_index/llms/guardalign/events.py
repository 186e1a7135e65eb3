"""The events and responses of one guarded call."""

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
from guardalign_middleware.replies import GuardedReply


class GuardedCall:
    """One call that LlamaIndex's callbacks see with cleaned messages only.

    The decorated methods take messages or a prompt because the callbacks read their arguments.

    Args:
        llm: the LLM being called; its listeners get the events.
        messages: the cleaned conversation.
        reply: returns the whole answer.
        areply: `reply` without blocking the event loop.
        stream_reply: starts the same answer as a stream, which can be stopped.
        limited: whether the LLM's rate limiter is asked, as it is for an answer of the model.
    """

    def __init__(
        self,
        llm: LLM,
        messages: list[ChatMessage],
        reply: Callable[[], GuardedReply],
        areply: Callable[[], Awaitable[GuardedReply]],
        stream_reply: Callable[[], GuardedStream],
        limited: bool = True,
    ) -> None:
        self.messages = messages
        self.callback_manager = llm.callback_manager
        self.rate_limiter = llm.rate_limiter if limited else None
        self.to_payload = llm.to_payload
        self._reply = reply
        self._areply = areply
        self._stream_reply = stream_reply

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage]) -> ChatResponse:
        """The whole answer."""
        return _whole(self._reply())

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage]) -> ChatResponseGen:
        """The answer as a stream."""
        return _pieces(self._stream_reply())

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage]) -> ChatResponse:
        """`chat` without blocking the event loop."""
        return _whole(await self._areply())

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage]) -> ChatResponseAsyncGen:
        """`stream_chat` without blocking the event loop."""
        return _apieces(await asyncio.to_thread(self._stream_reply))

    @llm_completion_callback()
    def complete(self, prompt: str) -> CompletionResponse:
        """`chat` as a completion."""
        return chat_response_to_completion_response(_whole(self._reply()))

    @llm_completion_callback()
    def stream_complete(self, prompt: str) -> CompletionResponseGen:
        """`stream_chat` as a completion."""
        return stream_chat_response_to_completion_response(_pieces(self._stream_reply()))

    @llm_completion_callback()
    async def acomplete(self, prompt: str) -> CompletionResponse:
        """`achat` as a completion."""
        return chat_response_to_completion_response(_whole(await self._areply()))

    @llm_completion_callback()
    async def astream_complete(self, prompt: str) -> CompletionResponseAsyncGen:
        """`astream_chat` as a completion."""
        stream = await asyncio.to_thread(self._stream_reply)
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
    """The answer so far; with `reply` it is complete, and `raw` holds the evidence.

    LlamaIndex reads the token counts from `raw["usage"]`, and estimates what is 0 there.
    """
    message = ChatMessage(role=MessageRole.ASSISTANT, content=text)
    if reply is None:
        return ChatResponse(message=message, delta=delta)
    usage = {
        "prompt_tokens": reply.usage.input_tokens,
        "completion_tokens": reply.usage.output_tokens,
        "total_tokens": reply.usage.total_tokens,
    }
    return ChatResponse(
        message=message,
        delta=delta,
        raw={"guardalign": reply.to_json(), "usage": usage},
        additional_kwargs=dict(usage),
    )
