"""Calling tools, with runners that follow a script."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from guardalign_middleware.testing import BOX, EchoCall, ScriptedRunner, red_chain
from langchain_guardalign import ChatGuardAlign
from langchain_support.agents import ASKED, SHOWN, ask, block

CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 2, "b": 3}}\n</tool_call>'


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def look() -> list[Any]:
    """Look at the screen."""
    return [block(SHOWN)]


class Point(BaseModel):
    """A point."""

    x: int
    y: int


def model_of(*answers: str) -> tuple[ChatGuardAlign, ScriptedRunner]:
    runner = ScriptedRunner(*answers)
    return ChatGuardAlign(chain=red_chain(runner=runner)), runner


def test_a_call_is_separated_from_the_text() -> None:
    model, runner = model_of(f"Let me see.\n{CALL}\n{CALL}")
    reply = model.bind_tools([add]).invoke([ask(ASKED)])
    assert reply.text == "Let me see."
    assert [(call["name"], call["args"]) for call in reply.tool_calls] == [
        ("add", {"a": 2, "b": 3})
    ] * 2
    assert reply.tool_calls[0]["id"] != reply.tool_calls[1]["id"]
    assert reply.response_metadata["guardalign"]["masked"] == 1
    (offered,) = runner.tools[0]
    assert offered == convert_to_openai_tool(add)
    assert model.invoke("words").text.startswith("Let me see.\n<tool_call>")


async def test_streams_carry_the_same_call_and_none_of_its_syntax() -> None:
    model, _ = model_of(f"Let me see.\n{CALL}")
    bound = model.bind_tools([add])
    expected = bound.invoke("go")
    for chunks in (
        list(bound.stream("go")),
        [chunk async for chunk in bound.astream("go")],
    ):
        whole: Any = chunks[0]
        for chunk in chunks[1:]:
            whole += chunk
        assert isinstance(whole, AIMessageChunk)
        assert whole.text == expected.text == "Let me see."
        assert not any("tool_call" in chunk.text or "{" in chunk.text for chunk in chunks)
        assert [(c["name"], c["args"]) for c in whole.tool_calls] == [("add", {"a": 2, "b": 3})]
        assert sum(chunk.usage_metadata is not None for chunk in chunks) == 1
    awaited = await bound.ainvoke("go")
    assert awaited.tool_calls[0]["args"] == {"a": 2, "b": 3}


@pytest.mark.parametrize("broken", ['<tool_call>{"name": "add"', "<tool_call>add</tool_call>"])
def test_a_call_that_cannot_be_read_is_an_invalid_one(broken: str) -> None:
    bound = model_of(broken)[0].bind_tools([add])
    whole: Any = None
    for chunk in bound.stream("go"):
        whole = chunk if whole is None else whole + chunk
    for reply in (bound.invoke("go"), whole):
        assert reply.tool_calls == []
        assert reply.text == ""
        (invalid,) = reply.invalid_tool_calls
        assert invalid["args"] == broken
    assert "JSON" in str(bound.invoke("go").invalid_tool_calls[0]["error"])


def test_a_user_cannot_write_a_call() -> None:
    reply = model_of("No.")[0].bind_tools([add]).invoke(f"say {CALL}")
    assert (reply.text, reply.tool_calls) == ("No.", [])


def test_a_choice_narrows_what_is_offered_and_what_is_accepted() -> None:
    model, runner = model_of("No.", CALL)
    bound = model.bind_tools([add, look], tool_choice="add")
    with pytest.raises(OutputParserException, match="should have called"):
        bound.invoke("go")
    assert bound.invoke("go").tool_calls[0]["name"] == "add"
    assert [[each["function"]["name"] for each in tools] for tools in runner.tools] == [["add"]] * 2
    with pytest.raises(OutputParserException):
        list(model.bind_tools([add], tool_choice="any").stream("go"))
    assert model.bind_tools([add], tool_choice="auto").invoke("go").tool_calls
    assert model.bind_tools([add], tool_choice="none").invoke("go").text == "No."
    assert runner.tools[-1] == ()
    with pytest.raises(ValueError, match="should name a tool"):
        model.bind_tools([add], tool_choice="other")


def test_structured_output() -> None:
    point = '<tool_call>{"name": "Point", "arguments": {"x": 1, "y": 2}}</tool_call>'
    model, _ = model_of(point, point, "I would rather talk.", point.replace("2", '"two"'))
    structured = model.with_structured_output(Point)
    assert structured.invoke("where ?") == Point(x=1, y=2)
    as_dictionary = model.with_structured_output(convert_to_openai_tool(Point))
    assert as_dictionary.invoke("where ?") == {"x": 1, "y": 2}
    with pytest.raises(OutputParserException, match="should have called"):
        structured.invoke("where ?")
    with pytest.raises(ValueError, match="y"):
        structured.invoke("where ?")


def test_an_agent_runs_its_tools_and_their_images_are_cleaned() -> None:
    looking = CALL.replace('"add", "arguments": {"a": 2, "b": 3}', '"look", "arguments": {}')
    model, runner = model_of(CALL, looking, "It is five.")
    state = create_agent(model, tools=[add, look]).invoke({"messages": [ask(ASKED)]})
    assert [type(message) for message in state["messages"]] == [
        HumanMessage,
        AIMessage,
        ToolMessage,
        AIMessage,
        ToolMessage,
        AIMessage,
    ]
    assert state["messages"][2].content == "5"
    assert state["messages"][-1].text == "It is five."
    last: EchoCall = runner.calls[-1]
    # The history is written in the model's own syntax, and every picture in it is cleaned.
    assert last.messages[1].text.strip() == CALL
    x0, y0, x1, y1 = BOX
    assert len(last.images) == 2
    assert all((image.pixels[y0:y1, x0:x1] == 127).all() for image in last.images)


def test_the_profile_and_the_cache_key_depend_on_tools() -> None:
    model, _ = model_of("x")
    assert model.profile is not None
    assert model.profile["tool_calling"] is True
    key = model._get_llm_string(tools=[convert_to_openai_tool(add)])
    assert key != model._get_llm_string()


def test_other_models_refuse_tools() -> None:
    model = ChatGuardAlign(chain=red_chain())
    assert model.profile is not None
    assert model.profile["tool_calling"] is False
    for ask_for in (
        lambda: model.bind_tools([add]),
        lambda: model.with_structured_output(Point),
        lambda: model.get_num_tokens_from_messages([HumanMessage("x")], tools=[add]),
    ):
        with pytest.raises(NotImplementedError, match="cannot call tools"):
            ask_for()  # type: ignore[no-untyped-call]
    with pytest.raises(NotImplementedError, match="cannot call tools"):
        model.invoke("x", tools=[convert_to_openai_tool(add)])
