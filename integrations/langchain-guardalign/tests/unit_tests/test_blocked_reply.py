"""A guarded model answers a blocked picture itself; where words are no answer, it raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import LLMResult
from langchain_core.tracers.context import collect_runs
from pydantic import BaseModel

from guardalign_middleware.notices import UNSAFE
from guardalign_middleware.testing import all_red, red_config
from langchain_guardalign import GuardedChatModel, ImageBlocked
from langchain_guardalign.blocked_reply import needs_form
from langchain_support.agents import ASKED, ask, raw, red_runnable
from langchain_support.models import Native, Provider, Words

REPLY = red_config().blocked_reply
BLOCKED = ask(all_red())


class Thing(BaseModel):
    """What is in the picture."""

    thing: str


def behind(model: BaseChatModel, **options: Any) -> GuardedChatModel:
    return red_runnable(**options) | model


def whole(chunks: list[Any]) -> Any:
    """The chunks of a stream in one; each is a chunk, and the last one says so."""
    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    assert chunks[-1].chunk_position == "last"
    first, *rest = chunks
    for chunk in rest:
        first = first + chunk
    return first


def only(result: LLMResult) -> BaseMessage:
    generation: Any = result.generations[0][0]
    message: BaseMessage = generation.message
    return message


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "invoke": lambda model, prompt: model.invoke(prompt),
    "stream": lambda model, prompt: whole(list(model.stream(prompt))),
    "batch": lambda model, prompt: model.batch([prompt])[0],
    "batch_as_completed": lambda model, prompt: next(model.batch_as_completed([prompt]))[1],
    "generate": lambda model, prompt: only(model.generate([prompt])),
    "transform": lambda model, prompt: whole(list(model.transform(iter([prompt])))),
    "_generate": lambda model, prompt: model._generate(prompt).generations[0].message,
    "_stream": lambda model, prompt: whole([each.message for each in model._stream(prompt)]),
    "bound": lambda model, prompt: model.bind_tools([]).invoke(prompt),
}


async def streamed(stream: Any) -> Any:
    return whole([getattr(chunk, "message", chunk) async for chunk in stream])


async def first(batch: Any) -> Any:
    answers = await batch
    return only(answers) if isinstance(answers, LLMResult) else answers[0]


ASYNC: dict[str, Callable[[Any, Any], Any]] = {
    "ainvoke": lambda model, prompt: model.ainvoke(prompt),
    "astream": lambda model, prompt: streamed(model.astream(prompt)),
    "abatch": lambda model, prompt: first(model.abatch([prompt])),
    "agenerate": lambda model, prompt: first(model.agenerate([prompt])),
    "_astream": lambda model, prompt: streamed(model._astream(prompt)),
}


def check(answer: Any) -> None:
    assert isinstance(answer, AIMessage)
    assert answer.text == REPLY
    assert answer.response_metadata["finish_reason"] == "blocked"
    assert len(answer.response_metadata["guardalign"]["verdicts"]) == 1
    assert answer.usage_metadata
    assert answer.usage_metadata["total_tokens"] == 0


@pytest.mark.parametrize("kind", [Provider, Words])
@pytest.mark.parametrize("name", CALLS)
def test_every_call_replies_without_the_model(name: str, kind: Any) -> None:
    inner = kind()
    check(CALLS[name](behind(inner), [BLOCKED]))
    check(CALLS[name](behind(inner, on_unsafe="block"), [ask(ASKED)]))
    assert inner.seen == []
    for options in ({"on_blocked": "notice"}, {"on_unsafe": "notice"}):
        answer = behind(inner, **options).invoke([BLOCKED])
        assert answer.text == "a blue square"
    assert UNSAFE in repr(inner.seen)
    assert raw(inner.seen) == 0


@pytest.mark.parametrize("kind", [Provider, Words])
@pytest.mark.parametrize("name", ASYNC)
async def test_every_awaited_call_replies_without_the_model(name: str, kind: Any) -> None:
    inner = kind()
    check(await ASYNC[name](behind(inner), [BLOCKED]))
    assert inner.seen == []


async def test_replies_answers_and_errors_keep_their_order() -> None:
    link = HumanMessage([{"type": "image", "url": "https://example.org/a.png"}])
    prompts = [["a"], [BLOCKED], [link], [ask(ASKED)], [BLOCKED]]
    model = behind(Provider())
    for answers in (
        model.batch(prompts, return_exceptions=True),  # type: ignore[arg-type]
        await model.abatch(prompts, return_exceptions=True),  # type: ignore[arg-type]
    ):
        assert [getattr(answer, "text", type(answer).__name__) for answer in answers] == [
            "a blue square",
            REPLY,
            "ImageRejected",
            "a blue square",
            REPLY,
        ]
    messages = [[HumanMessage("a")], [BLOCKED], [ask(ASKED)]]
    for result in (model.generate(messages), await model.agenerate(messages)):
        texts = [row[0].text for row in result.generations]
        assert texts == ["a blue square", REPLY, "a blue square"]
        assert len({run.run_id for run in result.run or []}) == 3


def test_a_reply_is_a_run_of_its_own_and_in_no_cache() -> None:
    cache = InMemoryCache()
    model = behind(Provider(cache=cache, tags=["mine"]))
    with collect_runs() as runs:
        model.invoke([BLOCKED], {"run_name": "look"})
    (run,) = runs.traced_runs
    assert (run.name, run.error) == ("look", None)
    assert "mine" in (run.tags or [])
    assert (run.extra or {})["metadata"]["guardalign_decision"] == "block"
    assert raw([run.inputs, run.outputs]) == 0
    assert not cache._cache


@pytest.mark.parametrize("kind", [Provider, Native])
def test_no_reply_is_an_answer_in_a_schema(kind: Any) -> None:
    inner = kind()
    model = behind(inner)
    asked: list[Any] = [
        model.with_structured_output(Thing),
        model.with_structured_output(Thing, include_raw=True) if kind is Provider else None,
        model.bind_tools([Thing], tool_choice="any"),
        model.bind(response_format={"type": "json_schema"}),
    ]
    for each in filter(None, asked):
        with pytest.raises(ImageBlocked) as caught:
            each.invoke([BLOCKED])
        assert caught.value.reply == REPLY
        assert len(caught.value.verdicts) == 1
    assert inner.seen == []
    # What is bound to one of them does not count for the model itself.
    check(model.invoke([BLOCKED]))


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, False),
        ({"tools": [1]}, False),
        ({"tool_choice": None}, False),
        ({"tool_choice": "auto"}, False),
        ({"tool_choice": {"type": "auto"}}, False),
        ({"tool_choice": {"auto": {}}}, False),
        ({"response_format": {"type": "text"}}, False),
        ({"tool_config": {"function_calling_config": {"mode": "AUTO"}}}, False),
        ({"tool_choice": True}, True),
        ({"tool_choice": "required"}, True),
        ({"tool_choice": "Thing"}, True),
        ({"tool_choice": {"type": "tool", "name": "Thing"}}, True),
        ({"tool_choice": {"any": {}}}, True),
        ({"tool_config": {"function_calling_config": {"mode": "ANY"}}}, True),
        ({"response_format": Thing}, True),
        ({"ls_structured_output_format": {"kwargs": {}}}, True),
    ],
)
def test_where_words_are_no_answer(keywords: dict[str, Any], expected: bool) -> None:
    assert needs_form(keywords) is expected
