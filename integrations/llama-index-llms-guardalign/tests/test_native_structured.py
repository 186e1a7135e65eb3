"""Structured answers are the inner LLM's own: the guarded call sends what the bare one sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.instrumentation.events.llm import (
    LLMChatStartEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.llms.structured_llm import StructuredLLM
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate, RichPromptTemplate
from llama_index.core.prompts.base import SelectorPromptTemplate
from llama_index.core.prompts.utils import is_chat_model
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel

from guardalign_middleware.errors import GuardAlignError, MessageError
from guardalign_middleware.testing import base64_png, data_url, png
from llama_index.llms.guardalign import GuardAlignGuardedLLM, ImageBlocked
from llama_index_support.conversations import BLOCKED, GUARD, REPLY, SAFE, UNSAFE, image_block
from llama_index_support.doubles import PlainLLM, ToolLLM
from llama_index_support.structured import AnthropicLike, Completer, OllamaLike, OpenAILike


class Shape(BaseModel):
    """What is in a picture."""

    name: str


SAYS = [ChatMessage(role="assistant", content='{"name": "square"}')] * 9
# LlamaIndex reads streamed tool calls from the keyword only.
CALLS = [
    ChatMessage(
        role="assistant",
        blocks=[ToolCallBlock(tool_name="Shape", tool_kwargs={"name": "square"})],
        additional_kwargs={"tool_calls": [{"name": "Shape"}]},
    )
] * 9
INNER: dict[str, Callable[[], PlainLLM]] = {
    "format, as Ollama": lambda: OllamaLike(script=SAYS),
    "response_format, as OpenAI": lambda: OpenAILike(script=SAYS, system_prompt="Be brief."),
    "output_format, as Anthropic": lambda: AnthropicLike(script=SAYS),
    "tool calls": lambda: ToolLLM(script=CALLS, system_prompt="Be brief."),
    "tool calls, as an older OpenAI": lambda: OpenAILike(script=CALLS, model="gpt-4"),
    "text": lambda: PlainLLM(script=SAYS, system_prompt="Be brief."),
    "text by choice": lambda: ToolLLM(script=SAYS, pydantic_program_mode=PydanticProgramMode.LLM),
}
every_inner = pytest.mark.parametrize("make", INNER.values(), ids=INNER)
TEMPLATE = '{% chat role="user" %}{{ url | image }} What is it? {a} {{"{{b}}"}}{% endchat %}'


def prompt() -> Any:
    return RichPromptTemplate(TEMPLATE)


async def every_way(llm: Any, url: str, **kwargs: Any) -> list[Any]:
    """The objects of the four methods; of a stream the last."""
    stream = await llm.astream_structured_predict(Shape, prompt(), dict(kwargs), url=url)
    return [
        llm.structured_predict(Shape, prompt(), dict(kwargs), url=url),
        await llm.astructured_predict(Shape, prompt(), dict(kwargs), url=url),
        list(llm.stream_structured_predict(Shape, prompt(), dict(kwargs), url=url))[-1],
        [item async for item in stream][-1],
    ]


def sent(inner: PlainLLM) -> list[Any]:
    """The requests of an LLM without their pictures."""
    return [
        (
            [
                (message.role, [_words(block) for block in message.blocks])
                for message in conversation
            ],
            kwargs,
        )
        for conversation, kwargs in zip(inner.calls, inner.kwargs, strict=True)
    ]


def _words(block: Any) -> str:
    return "a picture" if isinstance(block, ImageBlock) else block.text


@every_inner
async def test_it_sends_what_the_bare_llm_sends_but_for_the_pictures(
    make: Callable[[], PlainLLM],
) -> None:
    bare, inner = make(), make()
    await every_way(bare, data_url(SAFE), temperature=0.5)
    llm = GuardAlignGuardedLLM(inner, GUARD)
    assert await every_way(llm, data_url(UNSAFE), temperature=0.5) == [Shape(name="square")] * 4
    assert sent(inner) == sent(bare)
    assert inner.saw_only_clean_images(4)


async def test_an_older_openai_is_made_to_call_a_tool() -> None:
    inner = INNER["tool calls, as an older OpenAI"]()
    llm = GuardAlignGuardedLLM(inner, GUARD)
    assert llm.structured_predict(Shape, prompt(), url=data_url(UNSAFE)) == Shape(name="square")
    assert inner.kwargs[0]["tool_required"] is True
    assert inner.saw_only_clean_images(1)


async def test_an_llm_without_chat_gets_the_bare_text() -> None:
    bare, inner = Completer(script=SAYS), Completer(script=SAYS)
    llm = GuardAlignGuardedLLM(inner, GUARD)
    for each in (bare, llm):
        template: Any = PromptTemplate("Name {what}.")
        assert each.structured_predict(Shape, template, what="it") == Shape(name="square")
        await each.astructured_predict(Shape, template, what="it")
    assert bare.prompts[0].startswith("Name it.")
    assert inner.prompts == bare.prompts


@every_inner
async def test_a_blocked_image_is_a_typed_error_at_the_call(make: Callable[[], PlainLLM]) -> None:
    inner = make()
    llm = GuardAlignGuardedLLM(inner, GUARD)
    url = data_url(BLOCKED)
    structured = llm.as_structured_llm(Shape)
    messages = [ChatMessage(role="user", blocks=[image_block(BLOCKED), TextBlock(text="What?")])]
    calls: list[Callable[[], Any]] = [
        lambda: llm.structured_predict(Shape, prompt(), url=url),
        lambda: llm.stream_structured_predict(Shape, prompt(), url=url),
        lambda: structured.chat(messages),
        lambda: structured.stream_chat(messages),
    ]
    for call in calls:
        with pytest.raises(ImageBlocked, match=REPLY) as caught:
            call()
        assert isinstance(caught.value, GuardAlignError)
        assert isinstance(caught.value, ValueError)
        assert caught.value.report["verdicts"][0]["decision"] == "block"
    for asynchronous in (
        llm.astructured_predict(Shape, prompt(), url=url),
        llm.astream_structured_predict(Shape, prompt(), url=url),
        structured.achat(messages),
        structured.astream_chat(messages),
    ):
        with pytest.raises(ImageBlocked, match=REPLY):
            await asynchronous
    assert inner.calls == []


def test_a_notice_lets_the_llm_answer_about_a_blocked_image() -> None:
    inner = OllamaLike(script=SAYS)
    llm = GuardAlignGuardedLLM(inner, GUARD, on_blocked="notice")
    url = data_url(BLOCKED)
    assert llm.structured_predict(Shape, prompt(), url=url) == Shape(name="square")
    assert inner.seen == []


@every_inner
async def test_a_structured_llm_is_guarded_in_calls_and_events(
    make: Callable[[], PlainLLM], recorder: Any
) -> None:
    inner = make()
    llm = GuardAlignGuardedLLM(inner, GUARD)
    structured = llm.as_structured_llm(Shape)
    assert isinstance(structured, StructuredLLM)
    blocks = [image_block(UNSAFE), TextBlock(text="What is it? {not} a {{template}}")]
    messages = (ChatMessage(role="user", blocks=blocks) for _ in range(1))
    response = structured.chat(messages)  # type: ignore[arg-type]
    assert response.raw == Shape(name="square")
    (verdict,) = response.additional_kwargs["guardalign"]["verdicts"]
    assert verdict["decision"] == "mask"
    again = [ChatMessage(role="user", blocks=blocks)]
    assert (await structured.achat(again)).raw == Shape(name="square")
    assert inner.saw_only_clean_images(2)
    assert recorder.of(LLMChatStartEvent)
    assert not recorder.holds(base64_png(UNSAFE))
    assert "What is it? {not} a {{template}}" in _texts(inner)


def _texts(inner: PlainLLM) -> str:
    return "".join(message.content or "" for message in inner.calls[0])


# LlamaIndex's own StructuredLLM calls it.
@pytest.mark.filterwarnings("ignore:The `json` method is deprecated")
async def test_a_structured_llm_streams_and_completes() -> None:
    inner = OllamaLike(script=SAYS)
    structured = GuardAlignGuardedLLM(inner, GUARD).as_structured_llm(Shape)
    messages = [ChatMessage(role="user", blocks=[image_block(UNSAFE), TextBlock(text="What?")])]
    assert list(structured.stream_chat(messages))[-1].raw == Shape(name="square")
    stream = await structured.astream_chat(messages)
    assert [each async for each in stream][-1].raw == Shape(name="square")
    assert structured.complete("What?").text == '{"name":"square"}'
    assert (await structured.acomplete("What?")).text == '{"name":"square"}'
    with pytest.raises(NotImplementedError):
        structured.stream_complete("What?")
    with pytest.raises(NotImplementedError):
        await structured.astream_complete("What?")
    assert inner.saw_only_clean_images(2)


def test_events_of_a_structured_prediction_hold_no_raw_image(recorder: Any) -> None:
    llm = GuardAlignGuardedLLM(ToolLLM(script=CALLS), GUARD)
    llm.structured_predict(Shape, prompt(), url=data_url(UNSAFE))
    (event,) = recorder.of(LLMStructuredPredictStartEvent)
    assert event.template_args == {}
    assert not recorder.holds(base64_png(UNSAFE))


def test_the_callers_prompt_stays_as_it_is() -> None:
    """The text program writes its parser into the prompt that it is given."""
    inner = PlainLLM(script=SAYS)
    template = ChatPromptTemplate(
        [ChatMessage(role="user", blocks=[ImageBlock(image=png(UNSAFE)), TextBlock(text="{q}")])]
    )
    before = template.model_copy(deep=True)
    llm = GuardAlignGuardedLLM(inner, GUARD)
    llm.structured_predict(Shape, template, q="What?")  # type: ignore[arg-type]
    assert template == before
    assert (inner.calls[0][0].content or "").count("JSON schema") == 1


def test_a_prompt_chooses_its_variant_by_the_inner_llm() -> None:
    inner = OllamaLike(script=SAYS)
    selector: Any = SelectorPromptTemplate(
        default_template=PromptTemplate("plain"),
        conditionals=[(is_chat_model, PromptTemplate("chat"))],
    )
    GuardAlignGuardedLLM(inner, GUARD).structured_predict(Shape, selector)
    assert _texts(inner) == "chat"


def test_a_prompt_of_another_type_is_refused_in_words() -> None:
    llm: Any = GuardAlignGuardedLLM(OllamaLike(), GUARD)
    with pytest.raises(MessageError, match="prompt template. Received a str"):
        llm.structured_predict(Shape, "What?")


def test_images_in_the_llms_keywords_are_refused() -> None:
    llm = GuardAlignGuardedLLM(OllamaLike(script=SAYS), GUARD)
    with pytest.raises(MessageError, match="images"):
        llm.structured_predict(Shape, prompt(), {"images": [png(UNSAFE)]}, url=data_url(SAFE))
