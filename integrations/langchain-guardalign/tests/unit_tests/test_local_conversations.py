"""A conversation with `ChatGuardAlign` goes on after every refused or blocked picture."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from guardalign_middleware import ConfigError, GuardAlign, ImageRejected, MessageError
from guardalign_middleware.notices import UNSAFE
from guardalign_middleware.testing import (
    EchoRunner,
    all_red,
    base64_png,
    picture,
    red_chain,
    red_config,
    red_guard,
)
from guardalign_middleware.testing.refused import refused_files
from langchain_guardalign import ChatGuardAlign
from langchain_support.agents import block, block_of

REPLY = red_config().blocked_reply
FILES = refused_files()
# What ordinary users send, and what the notice says about it.
CAUSES: dict[str, tuple[dict[str, Any], str]] = {
    "animated GIF": (block_of(*FILES["animated GIF"]), "it is animated"),
    "broken upload": (block_of(*FILES["broken upload"]), "the file is damaged"),
    "JPEG called PNG": (block_of(*FILES["JPEG called PNG"]), "image not shown"),
    "link": ({"type": "image", "url": "https://example.org/a.png"}, "it is behind a link"),
    "PDF": ({**block_of(*FILES["PDF"]), "type": "file"}, "file not shown: it is a PDF"),
    # Found by the adapter, not by the core.
    "file id": ({"type": "image", "file_id": "file-1"}, "image not shown"),
    "two images": (
        {
            "type": "image_url",
            "image_url": {"url": f"data:image/png;base64,{base64_png(picture())}"},
            "poster": f"data:image/png;base64,{base64_png(all_red())}",
        },
        "image not shown",
    ),
    "film": ({"type": "video", "base64": "AAAA", "mime_type": "video/mp4"}, "video not shown"),
}
REFUSED = [pytest.param(*case, id=name) for name, case in CAUSES.items()]
BLOCKED = block(all_red())
CALL: Any = {"name": "look", "args": {}, "id": "1"}


def said(part: dict[str, Any]) -> HumanMessage:
    return HumanMessage([{"type": "text", "text": "What is it?"}, part])


def older(part: dict[str, Any]) -> list[list[BaseMessage]]:
    """Conversations in which the part is not what the user has just sent."""
    call, result = AIMessage("", tool_calls=[CALL]), ToolMessage([part], tool_call_id="1")
    return [
        [said(part), AIMessage("I cannot."), HumanMessage("And now?")],
        [HumanMessage("Hi"), AIMessage([part]), HumanMessage("And now?")],
        [HumanMessage("Look."), call, result],
        [HumanMessage("Look."), call, result, HumanMessage("And now?")],
    ]


async def invoked(model: ChatGuardAlign, messages: list[BaseMessage]) -> AIMessage:
    return model.invoke(messages)


async def awaited(model: ChatGuardAlign, messages: list[BaseMessage]) -> AIMessage:
    return await model.ainvoke(messages)


async def streamed(model: ChatGuardAlign, messages: list[BaseMessage]) -> Any:
    first, *rest = model.stream(messages)
    return sum(rest, first)


async def astreamed(model: ChatGuardAlign, messages: list[BaseMessage]) -> Any:
    first, *rest = [chunk async for chunk in model.astream(messages)]
    return sum(rest, first)


async def in_batch(model: ChatGuardAlign, messages: list[BaseMessage]) -> AIMessage:
    return model.batch([messages, [HumanMessage("hello")]])[0]


Ask = Callable[[ChatGuardAlign, list[BaseMessage]], Awaitable[AIMessage]]
WAYS = pytest.mark.parametrize("way", [invoked, awaited, streamed, astreamed, in_batch])


@WAYS
@pytest.mark.parametrize(("part", "cause"), REFUSED)
async def test_refused_in_older_turns_and_tools(way: Ask, part: dict[str, Any], cause: str) -> None:
    for messages in older(part):
        runner = EchoRunner()
        answer = await way(ChatGuardAlign(red_chain(runner=runner)), messages)
        assert answer.text.startswith("echo: ")
        assert cause in str(runner.calls)
        about = answer.response_metadata["guardalign"]
        (record,) = about["verdicts"]
        assert (record["decision"], record["action"]) == ("block", "refused")
        assert record["place"].startswith("messages[")
        assert record["reason"]
        assert about["refused"] == 1


@WAYS
@pytest.mark.parametrize(("part", "cause"), REFUSED)
async def test_refused_where_it_was_just_sent(way: Ask, part: dict[str, Any], cause: str) -> None:
    model = ChatGuardAlign(red_chain())
    for _ in range(2):
        with pytest.raises((ImageRejected, MessageError), match=r"messages\[0\]\.content\[1\]"):
            await way(model, [said(part)])
    runner = EchoRunner()
    patient = ChatGuardAlign(red_chain(runner=runner), on_refused="notice")
    answer = await way(patient, [said(part)])
    assert answer.text.startswith("echo: ")
    assert cause in str(runner.calls)


@WAYS
async def test_blocked(way: Ask) -> None:
    runner = EchoRunner()
    model = ChatGuardAlign(red_chain(runner=runner))
    answer = await way(model, [said(BLOCKED)])
    assert (answer.text, answer.response_metadata["finish_reason"]) == (REPLY, "blocked")
    assert UNSAFE not in str(runner.calls)
    for messages in older(BLOCKED):
        seen = EchoRunner()
        answer = await way(ChatGuardAlign(red_chain(runner=seen)), messages)
        assert answer.text.startswith("echo: ")
        assert UNSAFE in str(seen.calls)
        assert answer.response_metadata["guardalign"]["blocked"] == 1
    model = ChatGuardAlign(red_chain(runner=runner), on_blocked="notice")
    answer = await way(model, [said(BLOCKED)])
    assert answer.text.startswith("echo: ")
    assert UNSAFE in str(runner.calls)


@pytest.mark.parametrize("part", [*(part for part, _ in CAUSES.values()), BLOCKED])
def test_an_agents_thread_goes_on(part: dict[str, Any]) -> None:
    thread: Any = {"configurable": {"thread_id": "1"}}
    agent = create_agent(ChatGuardAlign(red_chain()), checkpointer=InMemorySaver())
    if part is BLOCKED:
        assert agent.invoke({"messages": [said(part)]}, thread)["messages"][-1].text == REPLY
    else:
        with pytest.raises((ImageRejected, MessageError)):
            agent.invoke({"messages": [said(part)]}, thread)
    for text in ("And now?", "And then?"):
        state = agent.invoke({"messages": [HumanMessage(text)]}, thread)
        assert state["messages"][-1].text.startswith(f"echo: {text}")


def test_arguments_that_cannot_be_written_do_not_end_a_conversation() -> None:
    call = {**CALL, "args": {"at": {1, 2}}}
    runner = EchoRunner()
    history = [HumanMessage("Look."), AIMessage("", tool_calls=[call]), HumanMessage("And?")]
    assert ChatGuardAlign(red_chain(runner=runner)).invoke(history).text.startswith("echo: ")
    assert "not shown" in str(runner.calls)


class TestOptions:
    def test_they_are_those_of_the_chain_unless_given(self) -> None:
        patient = GuardAlign(red_guard(), EchoRunner(), on_refused="notice", on_blocked="notice")
        model = ChatGuardAlign(patient)
        assert (model.on_refused, model.on_blocked) == ("notice", "notice")
        assert model.invoke([said(CAUSES["link"][0])]).text.startswith("echo: ")
        strict = ChatGuardAlign(patient, on_refused="raise", on_blocked="reply")
        with pytest.raises(ImageRejected):
            strict.invoke([said(CAUSES["PDF"][0])])
        assert strict.invoke([said(BLOCKED)]).text == REPLY
        assert patient.on_refused == "notice"

    @pytest.mark.parametrize("option", ["on_refused", "on_blocked"])
    def test_a_wrong_value_is_an_error(self, option: str) -> None:
        wrong: Any = {option: "ignore"}
        with pytest.raises(ConfigError, match=option):
            ChatGuardAlign(preset="mini", **wrong)

    def test_caches_tell_them_apart(self) -> None:
        keys = {
            ChatGuardAlign(preset="mini", **options)._get_llm_string()
            for options in ({}, {"on_refused": "notice"}, {"on_blocked": "notice"})
        }
        assert len(keys) == 3

    def test_what_is_guarded_beside_it_has_them_too(self) -> None:
        guard = ChatGuardAlign(preset="mini", on_refused="notice")._image_guard()
        assert (guard.on_refused, guard.on_blocked) == ("notice", "reply")
