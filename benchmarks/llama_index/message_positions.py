"""The positions of LlamaIndex's messages and memories in which a picture can stand."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    ContentBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.schema import ImageDocument, ImageNode
from llama_index.core.tools import FunctionTool

from benchmarks.llama_index.cases import Case, Cases, maybe_guarded
from benchmarks.llama_index.recording import RecordingLLM
from guardalign_middleware import ImageGuard
from guardalign_middleware.testing.dialects import blocks_of
from llama_index.llms.guardalign import GuardAlignMemory


def blocks(png: bytes) -> dict[str, ContentBlock]:
    """The picture as a content block of each kind that can hold it."""
    base = base64.b64encode(png)
    url = f"data:image/png;base64,{base.decode()}"
    image = ImageBlock(image=png)
    return {
        "ImageBlock with bytes": image,
        "ImageBlock with base64": ImageBlock(image=base, image_mimetype="image/png"),
        "ImageBlock with a data URL": ImageBlock(url=url),
        "DocumentBlock of an image type": DocumentBlock(
            data=base, title="a.png", document_mimetype="image/png"
        ),
        "CitableBlock": CitableBlock(title="A", source="b", content=[image]),
        "CitationBlock": CitationBlock(
            cited_content=image, source="b", title="A", additional_location_info={}
        ),
        "data URL in a TextBlock": TextBlock(text=f"before ![]({url}) after"),
        "MCP result in a TextBlock": TextBlock(
            text=f"content=[ImageContent(type='image', data='{base.decode()}', "
            "mimeType='image/png', annotations=None)] isError=False"
        ),
        "data URL in a ThinkingBlock": ThinkingBlock(content=f"I see {url}"),
    }


def _user(text: str, *parts: ContentBlock, **fields: Any) -> ChatMessage:
    return ChatMessage(role=MessageRole.USER, blocks=[*parts, TextBlock(text=text)], **fields)


def _said(text: str) -> ChatMessage:
    return ChatMessage(role=MessageRole.ASSISTANT, content=text)


def _calling() -> ChatMessage:
    call = ToolCallBlock(tool_name="look", tool_kwargs={}, tool_call_id="c")
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=[call])


def _run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a program with an event loop of its own, also where the caller has one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(work())).result()


def _chat(messages: Sequence[ChatMessage], **options: Any) -> Case:
    def case(guard: ImageGuard | None) -> Any:
        inner = RecordingLLM()
        maybe_guarded(inner, guard, **options).chat(messages)
        return inner.calls

    return case


def _streamed(messages: Sequence[ChatMessage]) -> Case:
    def case(guard: ImageGuard | None) -> Any:
        inner = RecordingLLM()
        for _ in maybe_guarded(inner, guard).stream_chat(messages):
            pass
        return inner.calls

    return case


def _agent(returned: Any) -> Case:
    def case(guard: ImageGuard | None) -> Any:
        def look() -> Any:
            """Look at the screen."""
            return returned

        inner = RecordingLLM(script=[_calling()])
        tools: list[Any] = [FunctionTool.from_defaults(look)]

        async def run() -> None:
            agent = FunctionAgent(llm=maybe_guarded(inner, guard), tools=tools, streaming=False)
            await agent.run(user_msg="Look.")

        _run(run)
        return inner.calls

    return case


def _remembered(block: ContentBlock) -> Case:
    def case(guard: ImageGuard | None) -> Any:
        memory = ChatMemoryBuffer.from_defaults(
            chat_history=[_user("Look.", block), _said("Yes.")], token_limit=100_000
        )
        inner = RecordingLLM()

        async def run() -> None:
            agent = FunctionAgent(llm=maybe_guarded(inner, guard), tools=[], streaming=False)
            await agent.run(user_msg="And now?", memory=memory)

        _run(run)
        return inner.calls

    return case


def _kept(block: ContentBlock) -> Case:
    def case(guard: ImageGuard | None) -> Any:
        memory: Any = ChatMemoryBuffer.from_defaults(token_limit=100_000)
        if guard is not None:
            memory = GuardAlignMemory(memory=memory, guard=guard)
        inner = RecordingLLM()

        async def run() -> None:
            agent = FunctionAgent(llm=maybe_guarded(inner, guard), tools=[], streaming=False)
            await agent.run(user_msg=_user("Look.", block), memory=memory)

        _run(run)
        return inner.calls, memory.get_all()

    return case


def _per_block(build: Callable[[ContentBlock], Case]) -> Callable[[bytes], Cases]:
    return lambda png: {name: build(block) for name, block in blocks(png).items()}


def _result(block: ContentBlock) -> list[ChatMessage]:
    result = ChatMessage(
        role=MessageRole.TOOL, blocks=[block], additional_kwargs={"tool_call_id": "c"}
    )
    return [_user("Look."), _calling(), result]


def _keywords(png: bytes) -> Cases:
    return {
        name: _chat([_user("Look.", additional_kwargs={"content": [block]})])
        for name, block in blocks_of(png, "image/png").items()
    }


def _tool_call_keywords(png: bytes) -> Cases:
    url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    function = {"name": "show", "arguments": f'{{"picture": "{url}"}}'}
    call = {"id": "c", "type": "function", "function": function}
    answer = ChatMessage(
        role=MessageRole.ASSISTANT, content="", additional_kwargs={"tool_calls": [call]}
    )
    return {"OpenAI": _chat([_user("Look."), answer, _user("And now?")])}


def _image_keywords(png: bytes) -> Cases:
    base = base64.b64encode(png).decode()
    forms: dict[str, Any] = {
        "base64": base,
        "data URL": f"data:image/png;base64,{base}",
        "ImageDocument": ImageDocument(image=base),
        "ImageNode": ImageNode(image=base),
    }
    cases = {}
    for name, form in forms.items():
        message = _user("Look.")
        # Given to the constructor, some would become blocks.
        message.additional_kwargs["images"] = [form]
        cases[name] = _chat([message])
    return cases


def _arguments(png: bytes) -> Cases:
    def messages(picture: Any) -> list[ChatMessage]:
        call = ToolCallBlock(tool_name="show", tool_kwargs={"picture": picture}, tool_call_id="c")
        answer = ChatMessage(role=MessageRole.ASSISTANT, blocks=[call])
        return [_user("Look."), answer, _user("And now?")]

    base = base64.b64encode(png).decode()
    forms = {"base64": base, "data URL": f"data:image/png;base64,{base}", "nested": [{"a": base}]}
    return {name: _chat(messages(form)) for name, form in forms.items()}


def _unscanned(png: bytes) -> Cases:
    base = base64.b64encode(png)
    held: dict[str, ContentBlock] = {
        "AudioBlock": AudioBlock(audio=base, format="wav"),
        "VideoBlock": VideoBlock(video=base, video_mimetype="video/mp4"),
        "DocumentBlock": DocumentBlock(
            data=base, title="a.pdf", document_mimetype="application/pdf"
        ),
    }
    # A refusal is what the user wants here; as an older turn, the conversation goes on.
    return {
        name: _chat([_user("Look.", block), _said("Yes."), _user("And now?")], allow_unscanned=True)
        for name, block in held.items()
    }


MESSAGE_POSITIONS: dict[str, Callable[[bytes], Cases]] = {
    "user message": _per_block(lambda block: _chat([_user("Look.", block)])),
    "user message, streamed": _per_block(lambda block: _streamed([_user("Look.", block)])),
    "user message, older turn": _per_block(
        lambda block: _chat([_user("Look.", block), _said("Yes."), _user("And now?")])
    ),
    "system message": _per_block(
        lambda block: _chat([ChatMessage(role=MessageRole.SYSTEM, blocks=[block]), _user("Hello.")])
    ),
    "assistant message, older turn": _per_block(
        lambda block: _chat(
            [
                _user("Draw."),
                ChatMessage(role=MessageRole.ASSISTANT, blocks=[block]),
                _user("And now?"),
            ]
        )
    ),
    "tool result": _per_block(lambda block: _chat(_result(block))),
    "a tool of an agent returns it": _per_block(lambda block: _agent(block)),
    "a tool of an agent returns it in a list": _per_block(
        lambda block: _agent([TextBlock(text="Here:"), block])
    ),
    "an agent's memory, older turn": _per_block(_remembered),
    "what an agent's memory keeps": _per_block(_kept),
    "arguments of a tool call": _arguments,
    '`additional_kwargs["content"]`': _keywords,
    '`additional_kwargs["images"]`': _image_keywords,
    '`additional_kwargs["tool_calls"]`': _tool_call_keywords,
    "a block for sound, film or files, with `allow_unscanned`": _unscanned,
}
