"""What a run leaves behind: streams, checkpoints and state updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, Send

from guardalign_middleware.testing import base64_png, data_url, png, red_config, red_guard
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign import ImageGuardRunnable
from langchain_support.agents import (
    ASKED,
    SHOWN,
    TOOLS,
    ask,
    block,
    guard,
    guarded,
    guarded_sub_agent,
    raw,
    screenshot,
    script,
    shown,
)

Pictures = Callable[[object], list[CanonicalImage]]

BLOCKED = red_config().blocked_reply


# A sub-agent writes to its caller's saver: only its own guard can keep that clean.
SAVED = (*TOOLS[:-1], guarded_sub_agent)


@pytest.mark.parametrize("item", TOOLS, ids=lambda item: item.name)
async def test_streams_hold_a_raw_image_only_where_the_caller_put_it(item: BaseTool) -> None:
    for asynchronous in (False, True):
        agent = guarded(script(item), guard(), checkpointer=InMemorySaver())
        state, config = {"messages": [ask(ASKED)]}, {"configurable": {"thread_id": "1"}}
        modes = ["values", "updates", "messages"]
        if asynchronous:
            events = [e async for e in agent.astream(state, config, stream_mode=modes)]
        else:
            events = list(agent.stream(state, config, stream_mode=modes))
        assert events[0][0] == "values"
        assert raw(events[0]) == 1
        assert raw(events[1:]) == 0
        assert {mode for mode, _ in events} == set(modes)


def saved(saver: InMemorySaver) -> list[int]:
    """The steps whose checkpoint or pending writes hold a raw picture."""
    return sorted(
        item.metadata["step"]
        for item in saver.list(None)
        if raw((item.checkpoint, item.metadata, item.pending_writes))
    )


@pytest.mark.parametrize("item", SAVED, ids=lambda item: item.name)
async def test_only_the_input_checkpoint_holds_a_raw_image(item: BaseTool) -> None:
    for asynchronous in (False, True):
        saver = InMemorySaver()
        agent = guarded(script(item), guard(), checkpointer=saver)
        state, config = {"messages": [ask(ASKED)]}, {"configurable": {"thread_id": "1"}}
        await agent.ainvoke(state, config) if asynchronous else agent.invoke(state, config)
        # The empty checkpoint with the input as pending write, and the one made from it.
        assert saved(saver) == [-1, 0]
        assert len(list(saver.list(None))) >= 4


@pytest.mark.parametrize("item", SAVED, ids=lambda item: item.name)
async def test_the_runnable_before_the_agent_keeps_the_input_checkpoint_clean(
    item: BaseTool,
) -> None:
    for asynchronous in (False, True):
        saver, model = InMemorySaver(), script(item)
        chain = ImageGuardRunnable(guard=red_guard()) | guarded(model, guard(), checkpointer=saver)
        state, config = {"messages": [ask(ASKED)]}, {"configurable": {"thread_id": "1"}}
        await chain.ainvoke(state, config) if asynchronous else chain.invoke(state, config)
        assert shown(model) == [0, 0]
        assert saved(saver) == []


def test_a_saver_that_saves_on_exit_holds_no_raw_image() -> None:
    saver = InMemorySaver()
    agent = guarded(script(screenshot), guard(), checkpointer=saver)
    config = {"configurable": {"thread_id": "1"}}
    agent.invoke({"messages": [ask(ASKED)]}, config, durability="exit")
    assert saved(saver) == []


@pytest.mark.slow
def test_every_tool_in_one_run_and_a_second_turn() -> None:
    model = script(*TOOLS)
    agent = guarded(model, guard(), checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    first = agent.invoke({"messages": [ask(ASKED)]}, config)
    second = agent.invoke({"messages": [ask(ASKED)]}, config)
    assert sum(shown(model)) == 0
    assert (raw(first), raw(second)) == (0, 0)
    assert [m.id for m in second["messages"][: len(first["messages"])]] == [
        m.id for m in first["messages"]
    ]


def test_commands_of_every_shape_are_cleaned() -> None:
    message = ToolMessage([block(SHOWN)], tool_call_id="1")
    middleware = guard()
    results: list[Any] = [
        Command(update={"messages": [message], "shot": base64_png(SHOWN), "count": 1}),
        Command(update=[("messages", [message]), ("shot", png(SHOWN))]),
        Command(goto=Send("model", {"messages": [message]})),
        Command(goto=["a", Send("b", {"shot": data_url(SHOWN)})], graph=Command.PARENT),
        Command(resume={"shot": png(SHOWN)}),
        [message, Command(update={"messages": message})],
    ]
    for result in results:
        assert raw(unfolded(result)) == 1
        new = middleware.wrap_tool_call(None, lambda _, result=result: result)  # type: ignore[arg-type]
        assert raw(unfolded(new)) == 0
        assert type(new) is type(result)
    words = Command(update={"messages": []}, goto="model")
    assert middleware.wrap_tool_call(None, lambda _: words) is words  # type: ignore[arg-type]


def unfolded(result: Any) -> Any:
    if isinstance(result, list):
        return [unfolded(item) for item in result]
    if isinstance(result, Command):
        steps = result.goto if isinstance(result.goto, list | tuple) else [result.goto]
        return [result.update, result.resume, [getattr(step, "arg", step) for step in steps]]
    return result


def test_a_message_without_an_id_is_not_left_beside_its_copy() -> None:
    update = guard().before_agent({"messages": [ask(ASKED), ask()]}, None)  # type: ignore[arg-type, typeddict-item]
    assert update is not None
    assert [type(message).__name__ for message in update["messages"]] == [
        "RemoveMessage",
        "HumanMessage",
        "HumanMessage",
    ]
