"""Doubles: LLMs that remember what they were shown, and a listener to LlamaIndex's events."""

from __future__ import annotations

import asyncio
import re
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ImageBlock,
    LLMMetadata,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM, ToolSelection
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore
from pydantic import PrivateAttr

from guardalign_middleware.config import DetectionConfig, GuardAlignConfig
from guardalign_middleware.detection import Detector
from guardalign_middleware.replies import Generated
from guardalign_middleware.testing import EchoRunner, has_red, open_png, red_guard
from guardalign_middleware.types import CanonicalImage


class PlainLLM(LLM):
    """Answers from a script, then always "I see."; remembers messages and keywords."""

    script: list[ChatMessage] = []
    chat_model: bool = True
    _calls: list[list[ChatMessage]] = PrivateAttr(default_factory=list)
    _kwargs: list[dict[str, Any]] = PrivateAttr(default_factory=list)
    _prompts: list[str] = PrivateAttr(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        return "plain"

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(
            is_chat_model=self.chat_model,
            is_function_calling_model=isinstance(self, FunctionCallingLLM),
            model_name="plain",
            context_window=20_000,
        )

    @property
    def calls(self) -> list[list[ChatMessage]]:
        return self._calls

    @property
    def kwargs(self) -> list[dict[str, Any]]:
        return self._kwargs

    @property
    def prompts(self) -> list[str]:
        return self._prompts

    @property
    def seen(self) -> list[CanonicalImage]:
        """Every image that it was shown, decoded from the bytes."""
        return [
            open_png(block.resolve_image().read())
            for messages in self._calls
            for message in messages
            for block in leaves(message.blocks)
            if isinstance(block, ImageBlock)
        ]

    def saw_only_clean_images(self, count: int) -> bool:
        return only_clean(self.seen, count)

    def _next(self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]) -> ChatMessage:
        assert not any("images" in message.additional_kwargs for message in messages)
        self._calls.append(list(messages))
        self._kwargs.append(kwargs)
        position = len(self._calls) - 1
        if position < len(self.script):
            return self.script[position]
        return ChatMessage(role="assistant", content="I see.")

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return ChatResponse(message=self._next(messages, kwargs), raw={"id": "1"})

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        answer = self._next(messages, kwargs)
        return (piece for piece in pieces(answer))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return ChatResponse(message=self._next(messages, kwargs), raw={"id": "1"})

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        answer = self._next(messages, kwargs)

        async def generate() -> AsyncIterator[ChatResponse]:
            for piece in pieces(answer):
                yield piece

        return generate()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        self._prompts.append(prompt)
        return CompletionResponse(text="I read.")

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        self._prompts.append(prompt)
        return (CompletionResponse(text="I read.", delta=text) for text in ("I", " read."))

    @llm_completion_callback()
    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        self._prompts.append(prompt)
        return CompletionResponse(text="I read.")

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        self._prompts.append(prompt)

        async def generate() -> AsyncIterator[CompletionResponse]:
            for text in ("I", " read."):
                yield CompletionResponse(text="I read.", delta=text)

        return generate()


class ToolLLM(PlainLLM, FunctionCallingLLM):
    """A `PlainLLM` that calls the tools named in its script."""

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
        messages = list(chat_history or [])
        if isinstance(user_msg, str):
            messages.append(ChatMessage(role="user", content=user_msg))
        elif user_msg is not None:
            messages.append(user_msg)
        names = [tool.metadata.name for tool in tools]
        return {"messages": messages, "tools": names, "tool_required": tool_required, **kwargs}

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        if not calls and error_on_no_tool_call:
            raise ValueError("no tool call")
        return [
            ToolSelection(
                tool_id=call.tool_call_id or uuid.uuid4().hex,
                tool_name=call.tool_name,
                tool_kwargs=call.tool_kwargs,
            )
            for call in calls
        ]


class Says(EchoRunner):
    """A runner that always gives the same answer."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    @property
    def seen(self) -> list[CanonicalImage]:
        return [image for call in self.calls for image in call.images]

    def generate(self, *args: Any, **kwargs: Any) -> Generated:
        return replace(super().generate(*args, **kwargs), text=self._text)


@dataclass(frozen=True)
class Subject:
    """One of our LLMs and the model behind it."""

    llm: Any
    model: PlainLLM | Says

    @property
    def seen(self) -> list[CanonicalImage]:
        return self.model.seen

    @property
    def texts(self) -> list[list[tuple[str, str]]]:
        """The role and the text of each message of each call."""
        if isinstance(self.model, Says):
            calls: list[Any] = [call.messages for call in self.model.calls]
            return [[(message.role, message.text) for message in call] for call in calls]
        return [
            [(message.role.value, message.content or "") for message in call]
            for call in self.model.calls
        ]

    def saw_only_clean_images(self, count: int) -> bool:
        return only_clean(self.seen, count)


def only_clean(images: Sequence[CanonicalImage], count: int) -> bool:
    return len(images) == count and not any(map(has_red, images))


def leaves(blocks: Sequence[Any]) -> Iterator[Any]:
    """The blocks that hold no others."""
    for block in blocks:
        nested = getattr(block, "nested_blocks", None)
        if nested is None:
            yield block
        else:
            yield from leaves(nested)


def pieces(answer: ChatMessage) -> Iterator[ChatResponse]:
    """An answer word by word; tool calls in one piece."""
    if not answer.content:
        yield ChatResponse(message=answer, delta="", raw={"id": "1"})
        return
    text = ""
    for delta in re.findall(r"\s*\S+", answer.content):
        text += delta
        message = ChatMessage(role=answer.role, blocks=[TextBlock(text=text)])
        yield ChatResponse(message=message, delta=delta, raw={"id": "1"})


class Recorder(BaseEventHandler):
    """Every event that LlamaIndex reports."""

    _events: list[BaseEvent] = PrivateAttr(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        return "recorder"

    @property
    def events(self) -> list[BaseEvent]:
        return self._events

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self._events.append(event)

    def of(self, kind: type[BaseEvent]) -> list[Any]:
        return [event for event in self._events if type(event) is kind]

    def holds(self, text: str) -> bool:
        return any(text in event.model_dump_json(fallback=repr) for event in self._events)


class Finds(BaseRetriever):
    """Finds the same nodes for every query."""

    def __init__(self, *nodes: BaseNode | NodeWithScore) -> None:
        super().__init__()
        self._nodes = [
            node if isinstance(node, NodeWithScore) else NodeWithScore(node=node, score=1.0)
            for node in nodes
        ]

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._nodes


class Messages(AsyncDBChatStore):
    """The store of a `Memory`; LlamaIndex's own leaves a database connection open."""

    _held: list[ChatMessage] = PrivateAttr(default_factory=list)

    async def get_messages(self, key: str, *args: Any, **kwargs: Any) -> list[ChatMessage]:
        return list(self._held)

    async def count_messages(self, key: str, *args: Any, **kwargs: Any) -> int:
        return len(self._held)

    async def add_message(self, key: str, message: ChatMessage, *args: Any, **kwargs: Any) -> None:
        self._held.append(message)

    async def add_messages(
        self, key: str, messages: list[ChatMessage], *args: Any, **kwargs: Any
    ) -> None:
        self._held += messages

    async def set_messages(
        self, key: str, messages: list[ChatMessage], *args: Any, **kwargs: Any
    ) -> None:
        self._held = list(messages)

    async def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        return self._held.pop(idx)

    async def delete_messages(self, key: str, *args: Any, **kwargs: Any) -> None:
        self._held = []

    async def delete_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        gone, self._held = self._held[:n], self._held[n:]
        return gone

    async def archive_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        return await self.delete_oldest_messages(key, n)

    async def get_keys(self) -> list[str]:
        return []


class Held:
    """A function that goes on only when the event loop runs beside it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._entered = threading.Event()
        self._released = threading.Event()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._entered.set()
        assert self._released.wait(300), "the event loop is blocked"
        return self._function(*args, **kwargs)

    async def release(self) -> None:
        """Wait on the event loop until the function was called, then let it go on."""
        while not self._entered.is_set():
            await asyncio.sleep(0.001)
        self._released.set()


async def beside(call: Coroutine[Any, Any, Any], *held: Held) -> Any:
    """The result of a call, during which each held function left the event loop running."""
    task = asyncio.create_task(call)
    for item in held:
        await item.release()
    return await task


def own_preset(folder: Path) -> str:
    """A preset file that no other test shares a loaded guard with."""
    path = folder / "own.yaml"
    mini = GuardAlignConfig.load("mini")
    detection = mini.detection.model_copy(update={"anchor_cache": folder})
    config = mini.model_copy(update={"name": "own", "detection": detection})
    path.write_text(config.model_dump_json(), encoding="utf-8")
    return str(path)


def counted_loads(monkeypatch: pytest.MonkeyPatch) -> list[DetectionConfig]:
    """A list of what is loaded from now on; each time, a detector of red things."""
    loads: list[DetectionConfig] = []

    def load(config: DetectionConfig) -> Detector:
        loads.append(config)
        return red_guard().detector

    monkeypatch.setattr(Detector, "from_config", load)
    return loads
