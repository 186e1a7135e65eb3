"""LlamaIndex's multimodal chat engine around both of our LLMs; see `make` in conftest.py."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.chat_engine.multi_modal_context import MultiModalContextChatEngine
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.schema import TextNode

from llama_index_support.conversations import UNSAFE, Make, image_node
from llama_index_support.doubles import Finds

WORDS = ("Squares have four sides.", "Circles have none.")


def engine_of(llm: Any, *, images: bool = True) -> MultiModalContextChatEngine:
    nodes = [TextNode(text=text) for text in WORDS]
    if images:
        nodes.append(image_node(UNSAFE, image_mimetype="image/png"))
    return MultiModalContextChatEngine.from_defaults(
        retriever=Finds(*nodes),
        multi_modal_llm=llm,
        system_prompt="Be brief.",
        # The default memory is a database whose connection LlamaIndex leaves open.
        memory=ChatMemoryBuffer.from_defaults(token_limit=9000),
    )


async def answer(engine: Any, way: str, question: str, **more: Any) -> str:
    if way == "chat":
        return str(engine.chat(question, **more))
    if way == "stream_chat":
        return "".join(engine.stream_chat(question, **more).response_gen)
    if way == "achat":
        return str(await engine.achat(question, **more))
    stream = await engine.astream_chat(question, **more)
    return "".join([token async for token in stream.async_response_gen()])


WAYS = ("chat", "stream_chat", "achat", "astream_chat")


@pytest.mark.parametrize("way", WAYS)
async def test_a_turn_shows_words_and_cleaned_images_and_is_remembered(
    make: Make, way: str
) -> None:
    subject = make("A square.")
    engine = engine_of(subject.llm)
    assert await answer(engine, way, "What is it?") == "A square."
    assert subject.saw_only_clean_images(1)
    (messages,) = subject.texts
    assert messages[0] == ("system", "Be brief.")
    role, text = messages[-1]
    assert role == "user"
    assert all(words in text for words in (*WORDS, "What is it?"))
    assert [message.role.value for message in engine.chat_history] == ["user", "assistant"]
    assert [message.content for message in engine.chat_history] == ["What is it?", "A square."]


@pytest.mark.parametrize("way", WAYS)
async def test_the_history_grows_turn_by_turn_until_it_is_reset(make: Make, way: str) -> None:
    subject = make("A square.")
    engine = engine_of(subject.llm)
    for count, question in enumerate(("What is it?", "And now?"), start=1):
        await answer(engine, way, question)
        assert len(engine.chat_history) == 2 * count
    texts = [text for _, text in subject.texts[1]]
    assert "What is it?" in texts
    assert "A square." in texts
    assert subject.saw_only_clean_images(2)
    engine.reset()
    assert engine.chat_history == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_given_history_takes_the_place_of_the_memory(make: Make, way: str) -> None:
    subject = make("A square.")
    engine = engine_of(subject.llm)
    await answer(engine, way, "Forgotten?")
    earlier = [
        ChatMessage(role="user", content="Earlier?"),
        ChatMessage(role="assistant", content="Yes."),
    ]
    await answer(engine, way, "What is it?", chat_history=earlier)
    texts = [text for _, text in subject.texts[1]]
    assert texts[1:3] == ["Earlier?", "Yes."]
    assert not any("Forgotten?" in text for text in texts)
    assert len(engine.chat_history) == 4


def test_without_images_there_are_none(make: Make) -> None:
    subject = make("A square.")
    assert str(engine_of(subject.llm, images=False).chat("What is it?")) == "A square."
    assert subject.seen == []
