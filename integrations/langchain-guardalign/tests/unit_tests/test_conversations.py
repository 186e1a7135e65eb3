"""A conversation can always go on: nothing that was refused or blocked once is met again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import BaseModel

from guardalign_middleware.errors import (
    DetectionError,
    GuardAlignError,
    GuardError,
    ImageRejected,
    MessageError,
)
from guardalign_middleware.notices import UNSAFE
from guardalign_middleware.testing import all_red, base64_png, red_config
from guardalign_middleware.testing.refused import refused_files
from langchain_guardalign import ImageBlocked
from langchain_guardalign.testing import RecordingModel
from langchain_support.agents import ASKED, ask, block, block_of, guard, raw, red_runnable
from langchain_support.models import Provider

REPLY = red_config().blocked_reply
ALL_RED = all_red()
FILES = refused_files()
# What ordinary users send, and what the notice says about it.
CAUSES: dict[str, tuple[dict[str, Any], str]] = {
    "animated GIF": (block_of(*FILES["animated GIF"]), "animated"),
    "broken upload": (block_of(*FILES["broken upload"]), "damaged"),
    "JPEG called PNG": (block_of(*FILES["JPEG called PNG"]), "not shown"),
    "link": ({"type": "image", "url": "https://example.org/a.png"}, "behind a link"),
    "PDF": ({**block_of(*FILES["PDF"]), "type": "file"}, "not shown"),
}
REFUSED = [pytest.param(*case, id=name) for name, case in CAUSES.items()]
THREAD: Any = {"configurable": {"thread_id": "1"}}


def said(part: dict[str, Any]) -> HumanMessage:
    """A question with a part that the guard refuses."""
    return HumanMessage([{"type": "text", "text": "what is it ?"}, part])


def payload(part: dict[str, Any]) -> str:
    """The part of a block that must not be left anywhere."""
    return str(part.get("base64") or part["url"])


def script(*answers: str) -> RecordingModel:
    return RecordingModel(answers=[AIMessage(answer) for answer in answers])


async def run(agent: Any, asynchronous: bool, value: Any, config: Any = THREAD) -> Any:
    state = value if isinstance(value, dict | Command) else {"messages": [value]}
    return await agent.ainvoke(state, config) if asynchronous else agent.invoke(state, config)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(("part", "cause"), REFUSED)
async def test_a_thread_survives_what_the_user_sends(
    part: dict[str, Any], cause: str, asynchronous: bool
) -> None:
    model, saver = script("a", "b"), InMemorySaver()
    # A guard of its own in each turn, as in two processes.
    for text in ("", "and now ?", "and then ?"):
        agent = create_agent(model, middleware=[guard()], checkpointer=saver)
        if not text:
            with pytest.raises((ImageRejected, MessageError)) as caught:
                await run(agent, asynchronous, said(part))
            assert caught.value.remedy
            assert model.seen == []
            # The failed run has already cleaned its thread.
            assert payload(part) not in repr(agent.get_state(THREAD).values)
            continue
        state = await run(agent, asynchronous, HumanMessage(text))
        assert payload(part) not in repr([state, model.seen])
        first = state["messages"][0]
        assert cause in first.text
        (record,) = first.response_metadata["guardalign"]["verdicts"]
        assert (record["decision"], record["action"]) == ("block", "refused")
    assert [message.text for message in state["messages"][1:]] == [
        "and now ?",
        "a",
        "and then ?",
        "b",
    ]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(("part", "cause"), REFUSED)
async def test_on_refused_notice_lets_the_model_react(
    part: dict[str, Any], cause: str, asynchronous: bool
) -> None:
    model = script("a")
    agent = create_agent(model, middleware=[guard(on_refused="notice")])
    state = await run(agent, asynchronous, said(part))
    assert cause in model.seen[0][0].text
    assert payload(part) not in repr([state, model.seen])


def test_an_error_is_raised_as_it_was_found() -> None:
    agent = create_agent(script("a"), middleware=[guard()])
    with pytest.raises(ImageRejected) as caught:
        agent.invoke({"messages": [said(CAUSES["link"][0])]})
    with pytest.raises(ImageRejected) as expected:
        red_runnable().invoke([said(CAUSES["link"][0])])
    for name in ("reason", "remedy", "source"):
        assert getattr(caught.value, name) == getattr(expected.value, name)
    assert "messages[0].content[1]" in caught.value.message


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_thread_survives_however_it_is_saved(durability: Any) -> None:
    model = script("a")
    agent = create_agent(model, middleware=[guard()], checkpointer=InMemorySaver())
    with pytest.raises(ImageRejected):
        agent.invoke({"messages": [said(CAUSES["link"][0])]}, THREAD, durability=durability)
    state = agent.invoke({"messages": [HumanMessage("go on")]}, THREAD, durability=durability)
    assert state["messages"][-1].text == "a"
    assert "example.org" not in repr([state, model.seen])


def test_the_error_of_a_run_is_not_that_of_the_next_one() -> None:
    agent = create_agent(script("a"), middleware=[guard()], checkpointer=InMemorySaver())
    for name, reason in (("link", "url_not_allowed"), ("animated GIF", "multiple_frames")):
        with pytest.raises(ImageRejected) as caught:
            agent.invoke({"messages": [said(CAUSES[name][0])]}, THREAD)
        assert caught.value.reason == reason
        # Retried without a new message, the run fails as before.
        with pytest.raises(ImageRejected, match=r"messages\["):
            agent.invoke(None, THREAD)
    assert agent.invoke({"messages": [HumanMessage("go on")]}, THREAD)["messages"][-1].text == "a"
    assert "guardalign_refused" not in agent.invoke({"messages": [HumanMessage("hi")]}, THREAD)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("options", [{}, {"on_unsafe": "block"}], ids=["mask", "block"])
async def test_a_thread_survives_a_blocked_picture(
    options: dict[str, Any], asynchronous: bool
) -> None:
    model, saver = script("a"), InMemorySaver()
    agent = create_agent(model, middleware=[guard(**options)], checkpointer=saver)
    state = await run(agent, asynchronous, ask(ALL_RED))
    assert model.seen == []
    assert [message.text for message in state["messages"]] == [f"what is it ?{UNSAFE}", REPLY]
    reply = state["messages"][1]
    assert reply.response_metadata["finish_reason"] == "blocked"
    (record,) = reply.response_metadata["guardalign"]["verdicts"]
    assert record["action"] == options.get("on_unsafe", "notice")
    state = await run(agent, asynchronous, HumanMessage("go on"))
    assert state["messages"][-1].text == "a"
    assert raw([state, model.seen]) == 0


@pytest.mark.parametrize("options", [{"on_blocked": "notice"}, {"on_unsafe": "notice"}])
def test_on_blocked_notice_asks_the_model(options: dict[str, Any]) -> None:
    model = script("a")
    state = create_agent(model, middleware=[guard(**options)]).invoke({"messages": [ask(ALL_RED)]})
    assert state["messages"][-1].text == "a"
    assert UNSAFE in model.seen[0][0].text


class Thing(BaseModel):
    """What is in the picture."""

    thing: str


def tools(part: Any) -> list[Any]:
    """Tools that return a part in every way."""

    @tool
    def content() -> list[Any]:
        """Return it."""
        return [{"type": "text", "text": "done"}, part]

    @tool
    def update(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Write it to the state."""
        return Command(update={"messages": [ToolMessage([part], tool_call_id=tool_call_id)]})

    @tool
    def dictionary(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Write it to the state as a dictionary."""
        message = {"role": "tool", "tool_call_id": tool_call_id, "content": [part]}
        return Command(update={"messages": [message]})

    @tool
    def several(tool_call_id: Annotated[str, InjectedToolCallId]) -> Any:
        """Return several results."""
        message = ToolMessage([part], tool_call_id=tool_call_id)
        return [message, Command(update={"messages": []})]

    @tool
    def guarded_model() -> str:
        """Ask a guarded model about it."""
        asked = (red_runnable() | Provider()).with_structured_output(Thing).invoke([said(part)])
        return repr(asked)

    return [content, update, dictionary, several, guarded_model]


NAMES = [item.name for item in tools({})]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("part", "cause"), REFUSED)
async def test_a_tools_bad_picture_is_its_error(
    part: dict[str, Any], cause: str, name: str, asynchronous: bool
) -> None:
    call = AIMessage("", tool_calls=[{"name": name, "args": {}, "id": "call-0"}])
    model = RecordingModel(answers=[call, AIMessage("a"), AIMessage("b")])
    agent = create_agent(model, tools(part), middleware=[guard()], checkpointer=InMemorySaver())
    state = await run(agent, asynchronous, HumanMessage("look"))
    (result,) = [each for each in state["messages"] if isinstance(each, ToolMessage)]
    assert result.status == "error"
    assert cause in result.text
    assert result.tool_call_id == "call-0"
    assert isinstance(model.seen[1][-1], ToolMessage)
    assert cause in model.seen[1][-1].text
    state = await run(agent, asynchronous, HumanMessage("go on"))
    assert [message.text for message in state["messages"][-3:]] == ["a", "go on", "b"]
    assert payload(part) not in repr([state, model.seen])


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("name", NAMES)
async def test_a_tools_blocked_picture_is_a_notice(name: str, asynchronous: bool) -> None:
    call = AIMessage("", tool_calls=[{"name": name, "args": {}, "id": "call-0"}])
    model = RecordingModel(answers=[call, AIMessage("a"), AIMessage("b")])
    agent = create_agent(
        model, tools(block(ALL_RED)), middleware=[guard()], checkpointer=InMemorySaver()
    )
    state = await run(agent, asynchronous, HumanMessage("look"))
    (result,) = [each for each in state["messages"] if isinstance(each, ToolMessage)]
    assert UNSAFE in result.text
    assert result.status == ("error" if name == "guarded_model" else "success")
    state = await run(agent, asynchronous, HumanMessage("go on"))
    assert state["messages"][-1].text == "b"
    assert raw([state, model.seen]) == 0


def test_a_bad_picture_in_an_artifact_is_no_error_of_the_tool() -> None:
    @tool(response_format="content_and_artifact")
    def look() -> tuple[str, Any]:
        """Look."""
        return "done", [CAUSES["animated GIF"][0]]

    call = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "call-0"}])
    model = RecordingModel(answers=[call, AIMessage("a")])
    state = create_agent(model, [look], middleware=[guard()]).invoke(
        {"messages": [HumanMessage("look")]}
    )
    assert (state["messages"][2].text, state["messages"][2].status) == ("done", "success")
    assert "animated" in repr(state["messages"][2].artifact)


def test_a_fault_of_the_guard_is_no_error_of_the_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    @tool
    def look() -> list[Any]:
        """Look."""
        return [block(ASKED)]

    def fail(images: Any) -> Any:
        raise DetectionError("The distance is NaN.", stage="transport")

    middleware = guard()
    monkeypatch.setattr(middleware._cleaner.guard.get().detector, "scan_many", fail)
    call = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "call-0"}])
    agent = create_agent(RecordingModel(answers=[call]), [look], middleware=[middleware])
    with pytest.raises(GuardError):
        agent.invoke({"messages": [HumanMessage("look")]})


def test_what_no_model_is_shown_is_left_alone() -> None:
    args = {"blocks": [{"type": "image", "image_url": "https://files.slack.com/a.png"}]}
    hits = [{"type": "image", "url": "https://example.org/a.png"}]

    @tool(response_format="content_and_artifact")
    def post(blocks: list[Any]) -> tuple[str, Any]:
        """Post blocks."""
        return f"posted {len(blocks)}", {"hits": hits}

    call = AIMessage("", tool_calls=[{"name": "post", "args": args, "id": "call-0"}])
    model = RecordingModel(answers=[call, AIMessage("a")])
    state = create_agent(model, [post], middleware=[guard()]).invoke(
        {"messages": [HumanMessage("post it")]}
    )
    assert state["messages"][1].tool_calls[0]["args"] == args
    assert state["messages"][2].text == "posted 1"
    assert state["messages"][2].status == "success"


OLDER: dict[str, Callable[[Any], list[BaseMessage]]] = {
    "an older turn": lambda part: [said(part), AIMessage("a"), HumanMessage("go on")],
    "a tool's result": lambda part: [
        HumanMessage("look"),
        AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "1"}]),
        ToolMessage([part], tool_call_id="1"),
    ],
    "an answer": lambda part: [HumanMessage("draw"), AIMessage([part]), HumanMessage("go on")],
}


@pytest.mark.parametrize("history", OLDER.values(), ids=OLDER.keys())
@pytest.mark.parametrize(("part", "cause"), REFUSED)
def test_the_runnable_raises_only_for_what_was_just_sent(
    part: dict[str, Any], cause: str, history: Callable[[Any], list[BaseMessage]]
) -> None:
    runnable = red_runnable()
    assert cause in repr(runnable.invoke(history(part)))
    assert payload(part) not in repr(runnable.invoke({"messages": history(part)}))
    with pytest.raises((ImageRejected, MessageError)):
        runnable.invoke([*history(PART := CAUSES["link"][0]), HumanMessage([part])])
    assert PART
    quiet = red_runnable(on_refused="notice")
    assert cause in repr(quiet.invoke([HumanMessage("hello"), said(part)]))
    assert UNSAFE in repr(runnable.invoke(history(block(ALL_RED))))


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(("part", "cause"), [*REFUSED, (block(ALL_RED), UNSAFE)])
async def test_an_agents_guarded_model_goes_on_after_its_error(
    part: dict[str, Any], cause: str, asynchronous: bool
) -> None:
    # The agent has no middleware, so its thread keeps the message that ended the run.
    inner = Provider()
    model = red_runnable(on_unsafe="block") | inner
    agent = create_agent(model, checkpointer=InMemorySaver())
    try:
        state = await run(agent, asynchronous, said(part))
        assert state["messages"][-1].text == REPLY
    except GuardAlignError:
        assert cause != UNSAFE
    assert inner.seen == []
    state = await run(agent, asynchronous, HumanMessage("go on"))
    assert state["messages"][-1].text == "a blue square"
    assert cause in repr(inner.seen)
    assert payload(part) not in repr(inner.seen)


def test_only_what_came_before_counts_as_raised() -> None:
    runnable, part = red_runnable(), CAUSES["link"][0]
    one = [said(part)]
    for prompt in (one, one, [*one, HumanMessage("x"), said(part)]):
        with pytest.raises(ImageRejected):
            runnable.invoke(prompt)
    assert "behind a link" in repr(runnable.invoke([*one, HumanMessage("x")]))
    # In another process, with nothing to remember, it is just sent.
    with pytest.raises(ImageRejected):
        red_runnable().invoke([*one, HumanMessage("x")])
    with pytest.raises(ImageBlocked):
        runnable.invoke([ask(ALL_RED)])
    assert UNSAFE in repr(runnable.invoke([ask(ALL_RED), HumanMessage("x")]))
    assert base64_png(ALL_RED) not in repr(runnable.invoke([ask(ALL_RED), HumanMessage("x")]))
