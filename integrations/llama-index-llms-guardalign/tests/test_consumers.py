"""Every part of LlamaIndex that hands images to an LLM, around both of our LLMs.

`local` is `GuardAlignMultiModal`, `guarded` is `GuardAlignGuardedLLM` around somebody else's LLM.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from llama_index.core import Settings, StorageContext
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.embeddings import MockEmbedding, MultiModalEmbedding
from llama_index.core.indices import MultiModalVectorStoreIndex, VectorStoreIndex
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent, LLMChatStartEvent
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.program import MultiModalLLMCompletionProgram
from llama_index.core.prompts import PromptTemplate, RichPromptTemplate
from llama_index.core.query_engine import CitationQueryEngine, RetrieverQueryEngine
from llama_index.core.schema import ImageNode, TextNode
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context, StartEvent, StopEvent, Workflow, step
from PIL import Image
from pydantic import BaseModel

from guardalign_middleware.testing import EchoRunner
from guardalign_middleware.types import CanonicalImage, Generated
from llama_index.llms.guardalign import (
    GuardAlignGuardedLLM,
    GuardAlignImageTransform,
    GuardAlignMultiModal,
    GuardAlignNodePostprocessor,
)
from tests.doubles import RED, all_red, base64_png, data_url, picture, png, red_chain, red_guard

GUARD = red_guard()
REPLY = GUARD.config.blocked_reply
# LlamaIndex's own: its multi-modal engine is marked as deprecated but still what an index returns,
# and its workflow engine looks at every attribute of its agents, deprecated ones too.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Call to deprecated class SimpleMultiModalQueryEngine"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
]


@dataclass
class Subject:
    """One of our LLMs, and what the model behind it has seen."""

    llm: Any
    model: Any

    @property
    def seen(self) -> list[CanonicalImage]:
        if isinstance(self.model, EchoRunner):
            return [image for call in self.model.calls for image in call.images]
        return list(self.model.seen)

    def saw_only_clean_images(self, count: int) -> bool:
        return len(self.seen) == count and not any(map(has_red, self.seen))


class Says(EchoRunner):
    """Always gives the same answer."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def generate(self, *args: Any, **kwargs: Any) -> Generated:
        return replace(super().generate(*args, **kwargs), text=self._text)


Make = Callable[[str], Subject]


@pytest.fixture(params=["local", "guarded"])
def make(request: pytest.FixtureRequest, plain_llm: Any) -> Make:
    def subject(text: str) -> Subject:
        if request.param == "local":
            runner = Says(text)
            return Subject(GuardAlignMultiModal(chain=red_chain(runner=runner)), runner)
        inner = plain_llm(script=[ChatMessage(role="assistant", content=text)] * 5)
        return Subject(GuardAlignGuardedLLM(llm=inner, guard=GUARD), inner)

    return subject


def has_red(image: CanonicalImage) -> bool:
    return bool((image.pixels == RED).all(axis=-1).any())


class Colours(MultiModalEmbedding):
    """An image is its mean colour; all texts are the same."""

    def _get_image_embedding(self, img_file_path: Any) -> list[float]:
        with Image.open(img_file_path) as file:
            small = file.convert("RGB").resize((1, 1), Image.Resampling.BOX)
        return [float(value) + 1.0 for value in small.tobytes()]

    async def _aget_image_embedding(self, img_file_path: Any) -> list[float]:
        return self._get_image_embedding(img_file_path)

    def _get_text_embedding(self, text: str) -> list[float]:
        return [1.0, 1.0, 1.0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return [1.0, 1.0, 1.0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return [1.0, 1.0, 1.0]


def unsafe_node() -> ImageNode:
    """With a text: an index leaves nodes without one out."""
    return ImageNode(
        image=base64_png(picture(red=True)), image_mimetype="image/png", text="A photograph."
    )


def picture_index(*nodes: ImageNode) -> MultiModalVectorStoreIndex:
    return MultiModalVectorStoreIndex(
        nodes=[*nodes, TextNode(text="A caption.")],
        embed_model=MockEmbedding(embed_dim=3),
        image_embed_model=Colours(),
        storage_context=StorageContext.from_defaults(),
    )


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_multi_modal_index_query_engine(
    make: Make, asynchronous: bool, caplog: pytest.LogCaptureFixture
) -> None:
    subject = make("A square.")
    engine: Any = picture_index(unsafe_node()).as_query_engine(llm=subject.llm)
    response = await engine.aquery("What?") if asynchronous else engine.query("What?")
    assert str(response) == "A square."
    assert subject.saw_only_clean_images(1)
    assert "multi-modal" not in caplog.text


def test_multi_modal_index_image_query_calls_no_postprocessor_but_our_llm(
    make: Make, tmp_path: Any
) -> None:
    (tmp_path / "query.png").write_bytes(png(picture()))
    subject = make("A square.")
    engine: Any = picture_index(unsafe_node()).as_query_engine(llm=subject.llm)
    assert str(engine.image_query(str(tmp_path / "query.png"), "What?")) == "A square."
    assert subject.saw_only_clean_images(1)


@pytest.mark.parametrize("mode", [ChatMode.CONTEXT, ChatMode.CONDENSE_PLUS_CONTEXT])
@pytest.mark.parametrize("streamed", [False, True])
async def test_multi_modal_index_chat_engines(make: Make, mode: ChatMode, streamed: bool) -> None:
    subject = make("A square.")
    # The default memory is a database whose connection LlamaIndex leaves open.
    memory = ChatMemoryBuffer.from_defaults(token_limit=4000)
    engine: Any = picture_index(unsafe_node()).as_chat_engine(mode, llm=subject.llm, memory=memory)
    if streamed:
        assert "".join(engine.stream_chat("What?").response_gen) == "A square."
    else:
        assert str(engine.chat("What?")) == "A square."
    assert str(await engine.achat("And now?")) == "A square."
    assert subject.seen
    assert not any(map(has_red, subject.seen))


def retriever(index: MultiModalVectorStoreIndex) -> Any:
    return index.as_retriever(similarity_top_k=2, image_similarity_top_k=2)


@pytest.mark.parametrize("kind", [RetrieverQueryEngine, CitationQueryEngine])
@pytest.mark.parametrize("way", ["query", "aquery", "stream"])
async def test_multimodal_synthesis(make: Make, kind: Any, way: str) -> None:
    subject = make("A square.")
    index = picture_index(unsafe_node())
    more = {"streaming": True} if way == "stream" else {}
    if kind is CitationQueryEngine:
        engine = kind.from_args(
            index, llm=subject.llm, retriever=retriever(index), multimodal=True, **more
        )
    else:
        engine = kind.from_args(
            retriever=retriever(index), llm=subject.llm, multimodal=True, **more
        )
    if way == "aquery":
        assert str(await engine.aquery("What?")) == "A square."
    else:
        assert str(engine.query("What?")) == "A square."
    assert subject.saw_only_clean_images(1)


def test_a_blocked_image_answers_a_query(make: Make) -> None:
    subject = make("A square.")
    index = picture_index(ImageNode(image=base64_png(all_red()), text="A photograph."))
    engine = RetrieverQueryEngine.from_args(
        retriever=retriever(index), llm=subject.llm, multimodal=True
    )
    assert str(engine.query("What?")) == REPLY
    assert subject.seen == []


def test_with_the_postprocessor_an_engine_sees_no_raw_image_at_all(
    make: Make, recorder: Any
) -> None:
    """Also `predict` and the response; only the retriever's own events come before it."""
    subject = make("A square.")
    index = picture_index(unsafe_node())
    raw = base64_png(picture(red=True))
    recorder.events.clear()
    engine = RetrieverQueryEngine.from_args(
        retriever=retriever(index),
        llm=subject.llm,
        multimodal=True,
        node_postprocessors=[GuardAlignNodePostprocessor(guard=GUARD)],
    )
    response = engine.query("What?")
    assert subject.saw_only_clean_images(1)
    assert all(raw not in item.model_dump_json(fallback=repr) for item in response.source_nodes)
    telling = {
        type(event).__name__
        for event in recorder.events
        if raw in event.model_dump_json(fallback=repr)
    }
    assert telling <= {"RetrievalEndEvent"}
    assert len(recorder.of(LLMChatStartEvent)) == len(recorder.of(LLMChatEndEvent)) == 1


def test_an_index_that_was_cleaned_at_ingestion_holds_no_raw_image(make: Make) -> None:
    subject = make("A square.")
    nodes = GuardAlignImageTransform(guard=GUARD)([unsafe_node()])
    index = picture_index(*nodes)  # type: ignore[arg-type]
    (found,) = [
        item.node for item in retriever(index).retrieve("What?") if isinstance(item.node, ImageNode)
    ]
    assert found.metadata["guardalign_decision"] == "mask"
    assert found.image != base64_png(picture(red=True))
    assert str(index.as_query_engine(llm=subject.llm).query("What?")) == "A square."
    assert subject.saw_only_clean_images(1)


class Shape(BaseModel):
    """What is in a picture."""

    name: str


ANSWER = '{"name": "square"}'


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_structured_predict_with_an_image(make: Make, asynchronous: bool) -> None:
    subject = make(ANSWER)
    prompt: Any = RichPromptTemplate(
        '{% chat role="user" %}{{ url | image }} What is it?{% endchat %}'
    )
    url = data_url(picture(red=True))
    if asynchronous:
        found = await subject.llm.astructured_predict(Shape, prompt, url=url)
    else:
        found = subject.llm.structured_predict(Shape, prompt, url=url)
    assert found == Shape(name="square")
    assert subject.saw_only_clean_images(1)


async def test_as_structured_llm(make: Make) -> None:
    subject = make(ANSWER)
    structured = subject.llm.as_structured_llm(Shape)
    blocks = [ImageBlock(image=png(picture(red=True))), TextBlock(text="What is it?")]
    messages = [ChatMessage(role="user", blocks=blocks)]
    assert structured.chat(messages).raw == Shape(name="square")
    assert (await structured.achat(messages)).raw == Shape(name="square")
    assert subject.saw_only_clean_images(2)


@pytest.mark.parametrize("carrier", ["node", "block"])
async def test_multi_modal_program(make: Make, carrier: str) -> None:
    subject = make(ANSWER)
    raw = unsafe_node() if carrier == "node" else ImageBlock(image=png(picture(red=True)))
    program = MultiModalLLMCompletionProgram.from_defaults(
        output_cls=Shape,
        prompt_template_str="What is it?",
        multi_modal_llm=subject.llm,
        image_documents=[raw],  # type: ignore[list-item]
    )
    assert program() == Shape(name="square")
    assert subject.saw_only_clean_images(1)


def ask() -> ChatMessage:
    blocks = [ImageBlock(image=png(picture(red=True))), TextBlock(text="What is it?")]
    return ChatMessage(role="user", blocks=blocks)


@pytest.mark.parametrize("streaming", [False, True])
async def test_react_agent_with_an_image_of_the_user(make: Make, streaming: bool) -> None:
    subject = make("Thought: I can answer.\nAnswer: A square.")
    agent = ReActAgent(llm=subject.llm, tools=[], streaming=streaming)
    assert str(await agent.run(user_msg=ask())) == "A square."
    assert subject.saw_only_clean_images(1)


def snapshot() -> list[Any]:
    """Take a picture."""
    return [TextBlock(text="Here:"), ImageBlock(image=png(picture(red=True)))]


async def test_react_agent_with_a_tool(plain_llm: Any) -> None:
    """It shows the model no images of tools, ours or others'."""
    inner = plain_llm(
        script=[
            ChatMessage(
                role="assistant", content="Thought: Look.\nAction: snapshot\nAction Input: {}"
            ),
            ChatMessage(role="assistant", content="Thought: I can answer.\nAnswer: A square."),
        ]
    )
    llm = GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    agent = ReActAgent(llm=llm, tools=[FunctionTool.from_defaults(snapshot)])
    assert str(await agent.run(user_msg=ask())) == "A square."
    assert Subject(llm, inner).saw_only_clean_images(2)


async def test_an_agent_workflow_takes_react_for_an_llm_without_tools(make: Make) -> None:
    subject = make("Thought: I can answer.\nAnswer: A square.")
    workflow = AgentWorkflow.from_tools_or_functions([snapshot], llm=subject.llm)
    (agent,) = workflow.agents.values()
    assert type(agent) is ReActAgent
    assert str(await workflow.run(user_msg=ask())) == "A square."
    assert subject.saw_only_clean_images(1)


class Describe(Workflow):
    """One step that asks an LLM about a picture."""

    def __init__(self, llm: Any) -> None:
        super().__init__(timeout=30)
        self._llm = llm

    @step
    async def describe(self, context: Context, event: StartEvent) -> StopEvent:
        response = await self._llm.achat([ask()])
        return StopEvent(result=response.message.content)


async def test_workflow(make: Make) -> None:
    subject = make("A square.")
    assert await Describe(subject.llm).run() == "A square."
    assert subject.saw_only_clean_images(1)


def test_settings(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = make("A square.")
    monkeypatch.setattr(Settings, "_llm", None)
    Settings.llm = subject.llm
    index = VectorStoreIndex(nodes=[TextNode(text="a")], embed_model=MockEmbedding(embed_dim=3))
    assert str(index.as_query_engine().query("What?")) == "A square."


CALL = ChatMessage(
    role="assistant",
    blocks=[ToolCallBlock(tool_name="snapshot", tool_kwargs={}, tool_call_id="1")],
)
DONE = ChatMessage(role="assistant", content="A square.")


@pytest.mark.parametrize("streaming", [False, True])
async def test_function_agent_with_images_of_user_and_tool(
    tool_llm: Any, streaming: bool, recorder: Any
) -> None:
    inner = tool_llm(script=[CALL, DONE])
    llm = GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    agent = FunctionAgent(
        llm=llm, tools=[FunctionTool.from_defaults(snapshot)], streaming=streaming
    )
    result = await agent.run(user_msg=ask())
    assert str(result) == "A square."
    assert result.raw["guardalign"]["verdicts"][1]["decision"] == "mask"
    assert [message.role.value for message in inner.calls[1]] == ["user", "assistant", "tool"]
    assert Subject(llm, inner).saw_only_clean_images(3)
    starts = recorder.of(LLMChatStartEvent)
    assert len(starts) == len(recorder.of(LLMChatEndEvent)) == 2
    raw = base64_png(picture(red=True))
    assert all(raw not in start.model_dump_json(fallback=repr) for start in starts)


async def test_function_agent_ends_at_a_blocked_image_of_a_tool(tool_llm: Any) -> None:
    def snapshot() -> Any:
        """Take a picture."""
        return ImageBlock(image=png(all_red()))

    inner = tool_llm(script=[CALL, DONE])
    agent = FunctionAgent(
        llm=GuardAlignGuardedLLM(llm=inner, guard=GUARD),
        tools=[FunctionTool.from_defaults(snapshot)],
    )
    result = await agent.run(user_msg="What is it?")
    assert str(result) == REPLY
    assert result.raw["guardalign"]["finish_reason"] == "blocked"
    assert len(inner.calls) == 1


async def test_an_agent_workflow_takes_functions_for_an_llm_with_tools(tool_llm: Any) -> None:
    inner = tool_llm(script=[CALL, DONE])
    workflow = AgentWorkflow.from_tools_or_functions(
        [snapshot], llm=GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    )
    (agent,) = workflow.agents.values()
    assert type(agent) is FunctionAgent
    assert str(await workflow.run(user_msg=ask())) == "A square."
    assert not any(map(has_red, inner.seen))


async def test_structured_predict_by_tool_calls(tool_llm: Any) -> None:
    call = ChatMessage(
        role="assistant",
        blocks=[ToolCallBlock(tool_name="Shape", tool_kwargs={"name": "square"})],
    )
    inner = tool_llm(script=[call] * 2)
    llm = GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    prompt: Any = RichPromptTemplate(
        '{% chat role="user" %}{{ url | image }} What is it?{% endchat %}'
    )
    url = data_url(picture(red=True))
    assert llm.structured_predict(Shape, prompt, url=url) == Shape(name="square")
    assert await llm.astructured_predict(Shape, prompt, url=url) == Shape(name="square")
    assert Subject(llm, inner).saw_only_clean_images(2)
    with pytest.raises(ValueError, match=REPLY):
        llm.structured_predict(Shape, prompt, url=data_url(all_red()))


def test_a_plain_prompt_still_works(make: Make) -> None:
    assert make("A square.").llm.predict(PromptTemplate("What?")) == "A square."


def test_colours_reads_what_nodes_resolve_to() -> None:
    assert Colours().get_image_embedding(io.BytesIO(png(picture()))) == [1.0, 1.0, 256.0]
