"""Pictures that enter an agent's state past its input and its tools."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    ToolRetryMiddleware,
)
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from guardalign_middleware.testing import data_url
from langchain_guardalign.testing import RecordingModel
from langchain_support.agents import ASKED, SHOWN, ask, guard, raw

THREAD: Any = {"configurable": {"thread_id": "1"}}
PAGE = f"<img src='{data_url(SHOWN)}'>"


@tool
def post(text: str) -> str:
    """Post a text."""
    return "posted"


@tool
def broken(text: str) -> str:
    """Fail with a picture in the error."""
    raise ValueError(f"cannot read {PAGE}")


def calling(name: str) -> RecordingModel:
    call = {"name": name, "args": {"text": "a"}, "id": "call-0"}
    return RecordingModel(
        answers=[AIMessage("", tool_calls=[call]), AIMessage("a"), AIMessage("b")]
    )


EDIT = {"type": "edit", "edited_action": {"name": "post", "args": {"text": PAGE}}}
ANSWERS = [EDIT, {"type": "reject", "message": PAGE}, {"type": "respond", "message": PAGE}]


@pytest.mark.parametrize("decision", ANSWERS, ids=lambda each: each["type"])
@pytest.mark.parametrize("update", [None, {"messages": [ask(ASKED)]}], ids=["", "update"])
def test_what_a_person_writes_while_a_run_waits(decision: Any, update: Any) -> None:
    model = calling("post")
    waiting = HumanInTheLoopMiddleware(interrupt_on={"post": True})
    agent: Any = create_agent(
        model, [post], middleware=[waiting, guard()], checkpointer=InMemorySaver()
    )
    agent.invoke({"messages": [HumanMessage("post it")]}, THREAD)
    resume: Command[Any] = Command(resume={"decisions": [decision]}, update=update)
    state = agent.invoke(resume, THREAD)
    assert raw([state, model.seen]) == 0
    assert raw(agent.get_state(THREAD).values) == 0
    assert agent.invoke({"messages": [HumanMessage("go on")]}, THREAD)["messages"][-1].text == "b"


class Adds(AgentMiddleware[Any, Any, Any]):
    """Writes a raw picture to the state before and after each call."""

    def before_model(self, state: Any, runtime: Any) -> dict[str, Any]:
        return {"messages": [ask(ASKED)]}

    def after_model(self, state: Any, runtime: Any) -> dict[str, Any]:
        return {"messages": [ask(SHOWN)]}


def test_what_a_middleware_before_the_guard_writes() -> None:
    model = RecordingModel(answers=[AIMessage("a")])
    agent: Any = create_agent(model, middleware=[Adds(), guard()], checkpointer=InMemorySaver())
    for _ in range(2):
        state = agent.invoke({"messages": [HumanMessage("hello")]}, THREAD)
        assert raw([state, model.seen]) == 0


@pytest.mark.parametrize("first", [True, False])
def test_the_error_text_of_a_retry(first: bool) -> None:
    model = calling("broken")
    retry = ToolRetryMiddleware(max_retries=1, initial_delay=0, on_failure="continue")
    order: list[Any] = [retry, guard()] if first else [guard(), retry]
    state: Any = create_agent(model, [broken], middleware=order).invoke(
        {"messages": [HumanMessage("go")]}
    )
    assert "cannot read" in repr(state)
    assert raw([state, model.seen]) == 0


def test_films_and_unknown_files_pass_only_if_they_may() -> None:
    film = {"type": "video", "base64": "AAAAIGZ0eXBpc29t", "mime_type": "video/mp4"}
    older: list[Any] = [HumanMessage([film]), AIMessage("a"), HumanMessage("go on")]
    model = RecordingModel(answers=[AIMessage("a")])
    state = create_agent(model, middleware=[guard()]).invoke({"messages": list(older)})
    assert film["base64"] not in repr([state, model.seen])
    assert "[video not shown: this guard reads pictures only]" in repr(model.seen)
    state = create_agent(model, middleware=[guard(allow_unscanned=True)]).invoke(
        {"messages": list(older)}
    )
    assert film["base64"] in repr(model.seen[-1])
    assert state["messages"][0].response_metadata["guardalign"]["unscanned"] == 1
