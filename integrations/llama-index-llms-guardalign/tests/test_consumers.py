"""The parts of LlamaIndex that pass images to an LLM, around both of our LLMs; see `make`."""

from __future__ import annotations

import io
from typing import Any

import pytest
from llama_index.core import Settings, StorageContext
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.embeddings import MockEmbedding, MultiModalEmbedding
from llama_index.core.indices import MultiModalVectorStoreIndex, VectorStoreIndex
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent, LLMChatStartEvent
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.prompts import PromptTemplate
from llama_index.core.query_engine import CitationQueryEngine, RetrieverQueryEngine
from llama_index.core.schema import ImageNode, TextNode
from PIL import Image

from guardalign_middleware.testing import base64_png, has_red, png
from llama_index.llms.guardalign import (
    GuardAlignImageTransform,
    GuardAlignNodePostprocessor,
)
from llama_index_support.conversations import (
    BLOCKED,
    GUARD,
    REPLY,
    SAFE,
    UNSAFE,
    Make,
    ignore_agent_warnings,
    ignore_engine_warnings,
    image_node,
    unsafe_node,
)

pytestmark = [ignore_agent_warnings, ignore_engine_warnings]


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
    (tmp_path / "query.png").write_bytes(png(SAFE))
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
    index = picture_index(image_node(BLOCKED, text="A photograph."))
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
    raw = base64_png(UNSAFE)
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
    assert found.image != base64_png(UNSAFE)
    assert str(index.as_query_engine(llm=subject.llm).query("What?")) == "A square."
    assert subject.saw_only_clean_images(1)


def test_settings(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = make("A square.")
    monkeypatch.setattr(Settings, "_llm", None)
    Settings.llm = subject.llm
    index = VectorStoreIndex(nodes=[TextNode(text="a")], embed_model=MockEmbedding(embed_dim=3))
    assert str(index.as_query_engine().query("What?")) == "A square."


def test_a_plain_prompt_still_works(make: Make) -> None:
    assert make("A square.").llm.predict(PromptTemplate("What?")) == "A square."


def test_colours_reads_what_nodes_resolve_to() -> None:
    assert Colours().get_image_embedding(io.BytesIO(png(SAFE))) == [1.0, 1.0, 256.0]
