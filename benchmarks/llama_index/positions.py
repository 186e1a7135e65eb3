"""The positions of LlamaIndex's programs in which a picture can stand.

Each is a function of an image file and returns its cases by name. A case runs a program with or
without the guard, and returns what must not hold the raw picture: what the LLM was sent, or what
the pipeline stored.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine, Mapping, Sequence
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
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.llms.llm import LLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import (
    BaseNode,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.tools import FunctionTool

from benchmarks.llama_index.recording import RecordingLLM
from guardalign_middleware import ImageGuard
from guardalign_middleware.testing.dialects import blocks_of
from llama_index.llms.guardalign import (
    GuardAlignGuardedLLM,
    GuardAlignImageTransform,
    GuardAlignIngestionPipeline,
    GuardAlignMemory,
    GuardAlignNodePostprocessor,
)

Case = Callable[[ImageGuard | None], Any]
Cases = Mapping[str, Case]


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


def _llm(inner: LLM, guard: ImageGuard | None, **options: Any) -> Any:
    return inner if guard is None else GuardAlignGuardedLLM(llm=inner, guard=guard, **options)


def _run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a program with an event loop of its own, also where the caller has one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(work())).result()


def _chat(messages: Sequence[ChatMessage], **options: Any) -> Case:
    def case(guard: ImageGuard | None) -> Any:
        inner = RecordingLLM()
        _llm(inner, guard, **options).chat(messages)
        return inner.calls

    return case


def _streamed(messages: Sequence[ChatMessage]) -> Case:
    def case(guard: ImageGuard | None) -> Any:
        inner = RecordingLLM()
        for _ in _llm(inner, guard).stream_chat(messages):
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
            agent = FunctionAgent(llm=_llm(inner, guard), tools=tools, streaming=False)
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
            agent = FunctionAgent(llm=_llm(inner, guard), tools=[], streaming=False)
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
            agent = FunctionAgent(llm=_llm(inner, guard), tools=[], streaming=False)
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


def nodes(png: bytes) -> dict[str, BaseNode]:
    """The picture in a node of each kind that can hold it."""
    base = base64.b64encode(png).decode()
    url = f"data:image/png;base64,{base}"
    image = ImageNode(image=base, text="A picture.", image_mimetype="image/png")
    resource = MediaResource(data=base64.b64encode(png), mimetype="image/png")
    text = MediaResource(text="A picture.")
    related = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="s", metadata={"image": base})}
    return {
        "ImageNode": image,
        "ImageNode with a data URL": ImageNode(image_url=url, text="A picture."),
        "ImageDocument": ImageDocument(image=base, text="A picture."),
        "Node with an image resource": Node(text_resource=text, image_resource=resource),
        "IndexNode of an ImageNode": IndexNode(text="A.", index_id="i", obj=image),
        "IndexNode of an IndexNode": IndexNode(
            text="A.", index_id="i", obj=IndexNode(text="B.", index_id="j", obj=image)
        ),
        "metadata": TextNode(text="A.", metadata={"thumbnail": base}),
        "metadata of a relationship": TextNode(text="A.", relationships=related),
        "text": TextNode(text=f"before ![]({url}) after"),
    }


class _Finds(BaseRetriever):
    def __init__(self, node: BaseNode) -> None:
        super().__init__()
        self._node = node

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=self._node, score=1.0)]


def _retrieved(node: BaseNode) -> Case:
    def case(guard: ImageGuard | None) -> Any:
        inner = RecordingLLM()
        guards = [] if guard is None else [GuardAlignNodePostprocessor(guard=guard)]
        engine = RetrieverQueryEngine.from_args(
            retriever=_Finds(node),
            llm=_llm(inner, guard),
            multimodal=True,
            node_postprocessors=list(guards),
        )
        answer = engine.query("What is it?")
        return inner.calls, answer.source_nodes

    return case


def _ingested(node: BaseNode) -> Case:
    def case(guard: ImageGuard | None) -> Any:
        transforms = [] if guard is None else [GuardAlignImageTransform(guard=guard)]
        return IngestionPipeline(transformations=list(transforms)).run(nodes=[node])

    return case


def _documents(node: BaseNode) -> Case:
    def case(guard: ImageGuard | None) -> Any:
        store = SimpleDocumentStore()
        options: dict[str, Any] = {
            "transformations": [],
            "docstore": store,
            "docstore_strategy": DocstoreStrategy.DUPLICATES_ONLY,
        }
        if guard is None:
            pipeline = IngestionPipeline(**options)
        else:
            transform = GuardAlignImageTransform(guard=guard)
            pipeline = GuardAlignIngestionPipeline(guard=transform, **options)
        return pipeline.run(nodes=[node]), store.to_dict()

    return case


def _per_node(build: Callable[[BaseNode], Case], *without: str) -> Callable[[bytes], Cases]:
    return lambda png: {
        name: build(node) for name, node in nodes(png).items() if name not in without
    }


def _completed(png: bytes) -> Cases:
    held = {"ImageBlock": ImageBlock(image=png)} | {
        name: node for name, node in nodes(png).items() if "Image" in name and "Index" not in name
    }

    def case(document: Any) -> Case:
        def run(guard: ImageGuard | None) -> Any:
            inner = RecordingLLM()
            _llm(inner, guard).complete("What is it?", image_documents=[document])
            return inner.calls

        return run

    return {name: case(document) for name, document in held.items()}


POSITIONS: dict[str, Callable[[bytes], Cases]] = {
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
    "`complete(image_documents=…)`": _completed,
    # LlamaIndex itself cannot show a data URL in an ImageNode.
    "a retrieved node": _per_node(_retrieved, "ImageNode with a data URL"),
    "a node that a pipeline hands on": _per_node(_ingested),
    "a node that a docstore keeps": _per_node(_documents),
}
