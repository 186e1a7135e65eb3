"""A guarded model inside agents, beside the middlewares that call models of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    LLMToolSelectorMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    SummarizationMiddleware,
)
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import BaseModel

from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.testing import red_chain, red_config
from langchain_guardalign import ChatGuardAlign, GuardedChatModel, ImageBlocked
from langchain_support.agents import (
    ASKED,
    TOOLS,
    ask,
    block,
    guard,
    raw,
    red_runnable,
    screenshot,
)
from langchain_support.models import Down, Provider

LINK = HumanMessage([{"type": "image", "url": "https://example.org/a.png"}])


class Thing(BaseModel):
    """What is in the picture."""

    thing: str


def caller(*names: str, **options: Any) -> Provider:
    calls = [
        AIMessage("", tool_calls=[{"name": name, "args": {}, "id": f"call-{number}"}])
        for number, name in enumerate(names)
    ]
    return Provider(answers=[*calls, AIMessage("it is a square")], **options)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_an_agents_tools_return_pictures(tool: Any) -> None:
    inner = caller(tool.name)
    agent = create_agent(red_runnable() | inner, tools=[tool])
    state = agent.invoke({"messages": [ask(ASKED)]})
    assert state["messages"][-1].text == "it is a square"
    assert len(inner.seen) == 2
    assert raw(inner.seen) == 0
    assert inner.keywords[0]["tools"][0]["function"]["name"] == tool.name


async def test_an_awaited_and_a_streamed_agent() -> None:
    inner = caller("screenshot")
    agent = create_agent(red_runnable() | inner, tools=[screenshot])
    await agent.ainvoke({"messages": [ask(ASKED)]})
    tokens = [
        message.text
        for message, _ in agent.stream({"messages": [ask(ASKED)]}, stream_mode="messages")
        if message.type == "AIMessageChunk"
    ]
    awaited = [
        message.text
        async for message, _ in agent.astream({"messages": [ask(ASKED)]}, stream_mode="messages")
        if message.type == "AIMessageChunk"
    ]
    # Each token once, as the model writes them.
    assert "".join(tokens).split() == "it is a square".split()
    assert [token for token in tokens if token] == [token for token in awaited if token]
    assert len([token for token in tokens if token]) == 4
    assert raw(inner.seen) == 0


def test_structured_output_of_an_agent() -> None:
    call = {"name": "Thing", "args": {"thing": "square"}, "id": "1"}
    inner = Provider(answers=[AIMessage("", tool_calls=[call])])
    agent = create_agent(red_runnable() | inner, response_format=ToolStrategy(Thing))
    assert agent.invoke({"messages": [ask(ASKED)]})["structured_response"] == Thing(thing="square")
    # By the profile, the model writes JSON itself.
    native = Provider(
        answers=[AIMessage('{"thing": "square"}')], profile={"structured_output": True}
    )
    for form in (Thing, ProviderStrategy(Thing)):
        agent = create_agent(red_runnable() | native, response_format=form)
        state = agent.invoke({"messages": [ask(ASKED)]})
        assert state["structured_response"] == Thing(thing="square")
    assert "response_format" in native.keywords[0]
    assert raw([inner.seen, native.seen]) == 0


def test_errors_and_replies_end_the_run() -> None:
    inner = Provider()
    with pytest.raises(ImageRejected):
        create_agent(red_runnable() | inner).invoke({"messages": [LINK]})
    model = red_runnable(on_unsafe="block") | inner
    state = create_agent(model).invoke({"messages": [ask(ASKED)]})
    assert state["messages"][-1].text == red_config().blocked_reply
    # No words are an answer in a schema.
    for form in (ToolStrategy(Thing), ProviderStrategy(Thing)):
        with pytest.raises(ImageBlocked):
            create_agent(model, response_format=form).invoke({"messages": [ask(ASKED)]})
    assert inner.seen == []


def test_a_guarded_model_and_the_middleware_together() -> None:
    inner = caller("screenshot")
    agent = create_agent(red_runnable() | inner, tools=[screenshot], middleware=[guard()])
    state = agent.invoke({"messages": [ask(ASKED)]})
    assert raw([inner.seen, state]) == 0


def failing() -> ChatGuardAlign:
    """The local model, of which every call fails."""
    model = ChatGuardAlign(chain=red_chain())

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise Down

    object.__setattr__(model, "_generate", fail)
    return model


class Adds(AgentMiddleware[Any, Any, Any]):
    """Adds a raw picture to the prompt."""

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        return handler(request.override(messages=[*request.messages, HumanMessage([block(ASKED)])]))


def test_the_order_of_middleware() -> None:
    """The table "order of composition" of docs/langchain.md, row by row."""

    def shown(middleware: list[Any], model: Any, inner: Provider) -> int:
        create_agent(model, middleware=middleware).invoke({"messages": [ask(ASKED)]})
        assert inner.seen
        return raw(inner.seen)

    inner = Provider()
    assert shown([Adds(), guard()], inner, inner) == 0
    inner = Provider()
    assert shown([guard(), Adds()], inner, inner) == 1
    for order in ([Adds(), guard()], [guard(), Adds()], [Adds()]):
        inner = Provider()
        assert shown(list(order), red_runnable() | inner, inner) == 0


@pytest.mark.parametrize("first", ["fallback", "guard"])
@pytest.mark.parametrize("prompt", [ask(ASKED), LINK], ids=["unsafe", "refused"])
def test_a_fallback_beside_the_guard_sees_no_raw_picture(first: str, prompt: HumanMessage) -> None:
    inner, second = Provider(down=True), Provider()
    middleware: list[Any] = [ModelFallbackMiddleware(second), guard()]
    if first == "guard":
        middleware.reverse()
    agent = create_agent(inner, middleware=middleware)
    if prompt is LINK:
        with pytest.raises(ImageRejected):
            agent.invoke({"messages": [prompt]})
        assert second.seen == []
    else:
        agent.invoke({"messages": [prompt]})
        assert len(second.seen) == 1
    assert raw([inner.seen, second.seen]) == 0


@pytest.mark.parametrize("local", [False, True], ids=["guarded", "local"])
def test_a_fallback_without_a_guard_in_the_agent_needs_its_own(local: bool) -> None:
    # A residual: the fallback's model is not composed of the guarded one.
    front = red_runnable()
    first = failing() if local else front | Provider(down=True)

    def run(fallback: Any, *middleware: Any) -> None:
        agent = create_agent(first, middleware=[ModelFallbackMiddleware(fallback), *middleware])
        agent.invoke({"messages": [ask(ASKED)]})

    bare, own, besides = Provider(), Provider(), Provider()
    run(bare)
    run(front | own)
    run(besides, guard())
    assert [raw(model.seen) for model in (bare, own, besides)] == [1, 0, 0]
    assert own.seen
    assert besides.seen


def test_a_sub_agent_with_the_bare_model_is_not_guarded() -> None:
    # A residual, with the guarded model as its cure below.
    inner = Provider()
    below = create_agent(inner)

    def look() -> str:
        """Ask the sub-agent."""
        answer: str = below.invoke({"messages": [ask(ASKED)]})["messages"][-1].text
        return answer

    create_agent(red_runnable() | caller("look"), tools=[look]).invoke(
        {"messages": [HumanMessage("look")]}
    )
    assert raw(inner.seen) == 1


SUMMARY: dict[str, Any] = {"trigger": ("messages", 1), "keep": ("messages", 1)}


@pytest.mark.parametrize(
    ("helper", "shown"),
    [
        # It writes the pictures' messages down as words.
        (lambda model: SummarizationMiddleware(model=model, **SUMMARY), 0),
        (lambda model: LLMToolSelectorMiddleware(model=model), 1),
    ],
    ids=["summary", "tool selector"],
)
def test_middlewares_that_call_a_model(helper: Callable[[Any], Any], shown: int) -> None:
    """A bare model of theirs is a residual; a guarded one, or a guard in the agent, its cure."""
    front = red_runnable()
    call = {"name": "ToolSelectionResponse", "args": {"tools": []}, "id": "1"}
    helping = Provider(answers=[AIMessage("", tool_calls=[call])])
    for middleware, count in (
        ([helper(helping)], shown),
        ([helper(front | helping)], 0),
        ([helper(helping), guard()], 0),
    ):
        helping.seen.clear()
        inner = Provider()
        agent = create_agent(front | inner, tools=[screenshot], middleware=middleware)
        agent.invoke({"messages": [ask(ASKED), ask(ASKED)]})
        assert helping.seen
        assert (raw(helping.seen), raw(inner.seen)) == (count, 0)


def test_a_retry_keeps_the_guard() -> None:
    inner = Provider(down=True)
    retry = ModelRetryMiddleware(max_retries=1, initial_delay=0, on_failure="error")
    with pytest.raises(Down):
        create_agent(red_runnable() | inner, middleware=[retry]).invoke({"messages": [ask(ASKED)]})
    assert len(inner.seen) == 2
    assert raw(inner.seen) == 0


def test_a_sub_agent_has_the_same_guarded_model() -> None:
    inner = caller("look")
    inner.answers.insert(1, AIMessage("a square"))
    model = red_runnable() | inner
    assert isinstance(model, GuardedChatModel)
    below = create_agent(model, tools=[screenshot])

    def look() -> str:
        """Ask the sub-agent."""
        answer: str = below.invoke({"messages": [ask(ASKED)]})["messages"][-1].text
        return answer

    create_agent(model, tools=[look]).invoke({"messages": [HumanMessage("look")]})
    assert len(inner.seen) == 3
    assert raw(inner.seen) == 0
