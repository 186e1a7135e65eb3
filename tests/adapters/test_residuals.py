"""What the adapters cannot see, as the tables of residuals say, and what to do instead.

The residuals of composing are in each package's own tests, those of deepagents in
`test_deepagents.py`.
"""

from __future__ import annotations

import inspect
from typing import Any, NotRequired

import pytest
from langchain.agents import AgentState, create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, HumanMessage
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.span import SimpleSpan
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llama_index.core.llms import ChatMessage, ImageBlock
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import BaseNode, NodeWithScore
from llama_index.core.storage.docstore import SimpleDocumentStore

from guardalign_middleware.testing import base64_png, picture, png, red_guard
from langchain_guardalign import GuardAlignMiddleware, ImageGuardRunnable
from langchain_guardalign.testing import RecordingModel, holds_raw
from llama_index.llms.guardalign import (
    GuardAlignGuardedLLM,
    GuardAlignImageTransform,
    GuardAlignIngestionPipeline,
    GuardAlignNodePostprocessor,
    guard_memory,
)
from llama_index_support.conversations import ignore_agent_warnings, image_node
from llama_index_support.doubles import Finds, PlainLLM, ToolLLM

pytestmark = ignore_agent_warnings

UNSAFE = picture(red=True)
RAW = png(UNSAFE)
QUESTION = HumanMessage([{"type": "image", "base64": base64_png(UNSAFE), "mime_type": "image/png"}])


def holds(value: object) -> bool:
    return holds_raw(value, RAW)


class Shots(AgentState[Any]):
    """A state with more than messages."""

    shots: NotRequired[list[Any]]


def writes(clean: Any = lambda state: state) -> AgentMiddleware[Any, Any, Any]:
    """A middleware that writes a picture to a key of its own."""

    class Writes(AgentMiddleware[Any, Any, Any]):
        state_schema = Shots

        def before_model(self, state: Any, runtime: Any) -> Any:
            return clean({"shots": [{"picture": base64_png(UNSAFE)}]})

    return Writes()


def test_langchain_state_that_a_node_of_your_own_writes() -> None:
    guard, runnable = GuardAlignMiddleware(guard=red_guard()), ImageGuardRunnable(guard=red_guard())
    for clean, held in ((lambda state: state, True), (runnable.invoke, False)):
        model = RecordingModel(answers=[AIMessage("Yes.")])
        agent: Any = create_agent(model, middleware=[writes(clean), guard])
        state = agent.invoke({"messages": [HumanMessage("Hello.")]})
        assert holds(state["shots"]) is held
        assert not holds(model.seen)


def test_langchain_the_state_behind_a_guarded_model_alone() -> None:
    guard = red_guard()
    for middleware, held in (([], True), ([GuardAlignMiddleware(guard=guard)], False)):
        model = RecordingModel(answers=[AIMessage("Yes.")])
        agent: Any = create_agent(ImageGuardRunnable(guard=guard) | model, middleware=middleware)
        state = agent.invoke({"messages": [QUESTION]})
        assert holds(state) is held
        assert not holds(model.seen)


def test_llama_index_the_docstore_of_a_pipeline() -> None:
    transform = GuardAlignImageTransform(guard=red_guard())
    nodes: list[BaseNode] = [image_node(UNSAFE, text="A picture.")]
    options: dict[str, Any] = {"docstore_strategy": DocstoreStrategy.DUPLICATES_ONLY}
    stores = [SimpleDocumentStore() for _ in range(3)]
    inside = IngestionPipeline(transformations=[transform], docstore=stores[0], **options)
    with pytest.warns(UserWarning, match="keeps the raw documents"):
        inside.run(nodes=nodes)
    IngestionPipeline(docstore=stores[1], transformations=[], **options).run(nodes=transform(nodes))
    GuardAlignIngestionPipeline(
        guard=transform, docstore=stores[2], transformations=[], **options
    ).run(nodes=nodes)
    assert [holds(store.to_dict()) for store in stores] == [True, False, False]


async def test_llama_index_the_memory_of_an_agent() -> None:
    guard = red_guard()
    for guarded in (False, True):
        llm = GuardAlignGuardedLLM(llm=ToolLLM(), guard=guard)
        memory: Any = ChatMemoryBuffer.from_defaults(token_limit=9000)
        memory = guard_memory(memory, llm) if guarded else memory
        agent = FunctionAgent(llm=llm, tools=[], streaming=False)
        message = ChatMessage(role="user", blocks=[ImageBlock(image=RAW)])
        await agent.run(user_msg=message, memory=memory)
        assert holds(await memory.aget_all()) is not guarded


def test_llama_index_the_source_nodes_of_a_guarded_llm_alone() -> None:
    guard = red_guard()
    for guards, held in (([], True), ([GuardAlignNodePostprocessor(guard=guard)], False)):
        inner = PlainLLM()
        engine = RetrieverQueryEngine.from_args(
            retriever=Finds(image_node(UNSAFE, text="A picture.")),
            llm=GuardAlignGuardedLLM(llm=inner, guard=guard),
            multimodal=True,
            node_postprocessors=list(guards),
        )
        answer = engine.query("What is it?")
        assert not holds(inner.calls)
        assert holds(answer.source_nodes) is held


class Spans(BaseSpanHandler[SimpleSpan]):
    """Keeps the arguments of every call, as tracers do."""

    given: list[Any] = []

    def new_span(
        self, id_: str, bound_args: inspect.BoundArguments, *_: Any, **__: Any
    ) -> SimpleSpan:
        self.given.append(bound_args.arguments)
        return SimpleSpan(id_=id_)

    def prepare_to_exit_span(self, id_: str, *_: Any, **__: Any) -> None:
        return None

    def prepare_to_drop_span(self, id_: str, *_: Any, **__: Any) -> None:
        return None


def test_llama_index_the_arguments_of_spans() -> None:
    guard = red_guard()
    raw: BaseNode = image_node(UNSAFE, text="A picture.")
    (clean,) = GuardAlignImageTransform(guard=guard)([raw])
    root = get_dispatcher()
    for node, held in ((raw, True), (clean, False)):
        spans = Spans()
        root.add_span_handler(spans)
        try:
            guarded = GuardAlignNodePostprocessor(guard=guard)
            kept = guarded.postprocess_nodes([NodeWithScore(node=node)])
        finally:
            root.span_handlers.remove(spans)
        assert not holds(kept)
        assert holds(spans.given) is held
