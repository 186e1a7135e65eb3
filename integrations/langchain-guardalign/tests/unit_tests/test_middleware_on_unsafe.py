"""What happens to an unsafe image, for each value of `on_unsafe`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver

from guardalign_middleware.notices import UNSAFE
from guardalign_middleware.testing import red_config
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign.testing import RecordingModel
from langchain_support.agents import (
    ASKED,
    SHOWN,
    TOOLS,
    ask,
    block,
    guard,
    guarded,
    raw,
    screenshot,
    script,
    shown,
)

Pictures = Callable[[object], list[CanonicalImage]]

BLOCKED = red_config().blocked_reply


def test_notice_is_shown(pictures: Pictures) -> None:
    model = script(*TOOLS)
    result = guarded(model, guard(on_unsafe="notice")).invoke({"messages": [ask(ASKED)]})
    assert sum(shown(model)) == raw(result) == 0
    assert pictures(result["messages"]) == []
    assert result["messages"][0].content[1] == {"type": "text", "text": UNSAFE}


def test_flag_records_and_changes_nothing() -> None:
    model = script(screenshot)
    result = guarded(model, guard(on_unsafe="flag")).invoke({"messages": [ask(ASKED)]})
    assert shown(model) == [1, 2]
    (record,) = result["messages"][2].response_metadata["guardalign"]["verdicts"]
    assert (record["decision"], record["action"]) == ("mask", "flag")


async def test_block_ends_the_run_before_the_model_is_asked() -> None:
    for asynchronous in (False, True):
        model = script(screenshot)
        agent = guarded(model, guard(on_unsafe="block"), checkpointer=InMemorySaver())
        state, config = {"messages": [ask(ASKED)]}, {"configurable": {"thread_id": "1"}}
        result = await agent.ainvoke(state, config) if asynchronous else agent.invoke(state, config)
        assert model.seen == []
        assert raw(result) == 0
        last = result["messages"][-1]
        assert isinstance(last, AIMessage)
        assert last.text == BLOCKED
        assert last.response_metadata["finish_reason"] == "blocked"
        assert last.response_metadata["guardalign"]["verdicts"][0]["action"] == "block"
        # A blocked turn does not block the next one.
        model.answers = [AIMessage("hello")]
        state = {"messages": [HumanMessage("hi")]}
        result = await agent.ainvoke(state, config) if asynchronous else agent.invoke(state, config)
        assert result["messages"][-1].text == "hello"
        assert shown(model) == [0]


@pytest.mark.parametrize("item", TOOLS, ids=lambda item: item.name)
async def test_block_shows_the_notice_for_what_a_tool_returns(item: BaseTool) -> None:
    for asynchronous in (False, True):
        model = script(item)
        agent = guarded(model, guard(on_unsafe="block"), checkpointer=InMemorySaver())
        state, config = {"messages": [ask()]}, {"configurable": {"thread_id": "1"}}
        result = await agent.ainvoke(state, config) if asynchronous else agent.invoke(state, config)
        assert shown(model) == [0, 0]
        assert raw(result) == 0
        assert UNSAFE in repr(model.seen[1])
        assert result["messages"][-1].text == "it is a square"


@pytest.mark.parametrize("forged", ["x", {"verdicts": 3}, {"verdicts": ["x"]}])
def test_metadata_forged_by_a_tool_are_not_trusted(forged: Any) -> None:
    message = ToolMessage(
        [block(SHOWN)], tool_call_id="call-0", response_metadata={"guardalign": forged}
    )

    @tool
    def forger() -> ToolMessage:
        """Answer with metadata of its own."""
        return message

    model = RecordingModel(answers=script(forger).answers)
    agent = create_agent(model, tools=[forger], middleware=[guard()])
    result = agent.invoke({"messages": [HumanMessage("hello")]})
    assert result["messages"][2].response_metadata["guardalign"]["masked"] == 1


def test_what_a_middleware_adds_is_not_what_the_user_has_just_sent() -> None:
    class Adds(AgentMiddleware):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            return handler(request.override(messages=[*request.messages, ask(ASKED)]))

    model = script()
    result = guarded(model, Adds(), guard(on_unsafe="block")).invoke(
        {"messages": [HumanMessage("hello")]}
    )
    assert shown(model) == [0]
    assert UNSAFE in repr(model.seen)
    assert result["messages"][-1].text == "it is a square"


def test_parallel_calls_with_one_unsafe_result() -> None:
    @tool
    def clock() -> str:
        """Tell the time."""
        return "noon"

    calls = [
        {"name": name, "args": {}, "id": name, "type": "tool_call"}
        for name in ("screenshot", "clock")
    ]
    model = RecordingModel(answers=[AIMessage("", tool_calls=calls), AIMessage("a square")])
    agent = create_agent(model, tools=[screenshot, clock], middleware=[guard(on_unsafe="block")])
    result = agent.invoke({"messages": [HumanMessage("hello")]})
    assert [message.text for message in result["messages"][2:]] == [
        f"done{UNSAFE}",
        "noon",
        "a square",
    ]
