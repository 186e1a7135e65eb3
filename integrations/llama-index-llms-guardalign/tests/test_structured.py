"""Structured answers about pictures, from both of our LLMs; see `make` in conftest.py."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ToolCallBlock,
)
from llama_index.core.llms import ChatMessage, TextBlock
from llama_index.core.program import MultiModalLLMCompletionProgram
from llama_index.core.prompts import RichPromptTemplate
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.schema import NodeWithScore
from pydantic import BaseModel

from guardalign_middleware.testing import (
    data_url,
)
from llama_index.llms.guardalign import (
    GuardAlignGuardedLLM,
)
from llama_index_support.conversations import (
    BLOCKED,
    GUARD,
    REPLY,
    UNSAFE,
    Make,
    image_block,
    unsafe_node,
)
from llama_index_support.doubles import PlainLLM, ToolLLM


class Shape(BaseModel):
    """What is in a picture."""

    name: str


ANSWER = '{"name": "square"}'
CALL = ChatMessage(
    role="assistant",
    blocks=[ToolCallBlock(tool_name="Shape", tool_kwargs={"name": "square"})],
)
PROMPT: Any = RichPromptTemplate('{% chat role="user" %}{{ url | image }} What is it?{% endchat %}')


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_structured_predict_with_an_image(make: Make, asynchronous: bool) -> None:
    subject = make(ANSWER)
    url = data_url(UNSAFE)
    if asynchronous:
        found = await subject.llm.astructured_predict(Shape, PROMPT, url=url)
    else:
        found = subject.llm.structured_predict(Shape, PROMPT, url=url)
    assert found == Shape(name="square")
    assert subject.saw_only_clean_images(1)


async def test_as_structured_llm(make: Make) -> None:
    subject = make(ANSWER)
    structured = subject.llm.as_structured_llm(Shape)
    blocks = [image_block(UNSAFE), TextBlock(text="What is it?")]
    messages = [ChatMessage(role="user", blocks=blocks)]
    assert structured.chat(messages).raw == Shape(name="square")
    assert (await structured.achat(messages)).raw == Shape(name="square")
    assert subject.saw_only_clean_images(2)


@pytest.mark.parametrize("carrier", ["node", "block"])
async def test_multi_modal_program(make: Make, carrier: str) -> None:
    subject = make(ANSWER)
    raw = unsafe_node() if carrier == "node" else image_block(UNSAFE)
    program = MultiModalLLMCompletionProgram.from_defaults(
        output_cls=Shape,
        prompt_template_str="What is it?",
        multi_modal_llm=subject.llm,
        image_documents=[raw],  # type: ignore[list-item]
    )
    assert program() == Shape(name="square")
    assert subject.saw_only_clean_images(1)


async def test_structured_predict_by_tool_calls() -> None:
    inner = ToolLLM(script=[CALL] * 2)
    llm = GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    url = data_url(UNSAFE)
    assert llm.structured_predict(Shape, PROMPT, url=url) == Shape(name="square")
    assert await llm.astructured_predict(Shape, PROMPT, url=url) == Shape(name="square")
    assert inner.saw_only_clean_images(2)
    with pytest.raises(ValueError, match=REPLY):
        llm.structured_predict(Shape, PROMPT, url=data_url(BLOCKED))


async def streamed(llm: Any) -> list[Any]:
    """The last object of a synchronous and of an asynchronous stream."""
    url = data_url(UNSAFE)
    last = list(llm.stream_structured_predict(Shape, PROMPT, url=url))[-1]
    stream = await llm.astream_structured_predict(Shape, PROMPT, url=url)
    return [last, [item async for item in stream][-1]]


async def test_streamed_structured_predict(make: Make) -> None:
    subject = make(ANSWER)
    assert await streamed(subject.llm) == [Shape(name="square")] * 2
    assert subject.saw_only_clean_images(2)


async def test_streamed_structured_predict_by_tool_calls() -> None:
    # LlamaIndex reads streamed tool calls from here only.
    call = CALL.model_copy(update={"additional_kwargs": {"tool_calls": [{"name": "Shape"}]}})
    inner = ToolLLM(script=[call] * 2)
    llm = GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    assert await streamed(llm) == [Shape(name="square")] * 2
    assert inner.saw_only_clean_images(2)


def test_a_synthesizer_gives_objects(make: Make) -> None:
    subject = make(ANSWER)
    synthesizer = get_response_synthesizer(
        llm=subject.llm,
        response_mode=ResponseMode.TREE_SUMMARIZE,
        output_cls=Shape,
        multimodal=True,
    )
    response: Any = synthesizer.synthesize("What?", [NodeWithScore(node=unsafe_node(), score=1.0)])
    assert response.response == Shape(name="square")
    assert subject.saw_only_clean_images(1)


def test_a_providers_own_raw_object_stays() -> None:
    inner = PlainLLM(script=[ChatMessage(role="assistant", content=ANSWER)])
    llm = GuardAlignGuardedLLM(llm=inner.as_structured_llm(Shape), guard=GUARD)
    blocks = [image_block(UNSAFE), TextBlock(text="What is it?")]
    response = llm.chat([ChatMessage(role="user", blocks=blocks)])
    assert response.raw == Shape(name="square")
    (verdict,) = response.additional_kwargs["guardalign"]["verdicts"]
    assert verdict["decision"] == "mask"
