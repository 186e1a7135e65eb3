"""No raw image reaches the model of a guarded agent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents.middleware import AgentMiddleware, PIIMiddleware
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import BaseTool

from guardalign_middleware.errors import ConfigError, DetectionError
from guardalign_middleware.notices import UNSAFE
from guardalign_middleware.testing import BOX, base64_png, picture, red_config, red_guard
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign import GuardAlignMiddleware
from langchain_guardalign.testing import RecordingModel
from langchain_support.agents import (
    ASKED,
    SHOWN,
    TOOLS,
    ask,
    block,
    guard,
    guarded,
    mcp,
    raw,
    screenshot,
    script,
    shown,
)

Pictures = Callable[[object], list[CanonicalImage]]

BLOCKED = red_config().blocked_reply


HOOKS = ("before_agent", "before_model", "wrap_tool_call", "wrap_model_call", "after_agent")


def with_hooks(*names: str) -> GuardAlignMiddleware:
    """The guard with only some of its hooks."""
    missing = {
        hook: getattr(AgentMiddleware, hook)
        for name in HOOKS
        if name not in names
        for hook in (name, f"a{name}")
    }
    return type("Partial", (GuardAlignMiddleware,), missing)(guard=red_guard())


TABLE: list[tuple[list[AgentMiddleware], list[int], int]] = [
    ([], [1, 2], 2),
    ([PIIMiddleware("email")], [1, 2], 2),
    ([with_hooks("before_agent")], [0, 1], 1),
    ([with_hooks("wrap_tool_call")], [1, 1], 1),
    ([with_hooks("wrap_model_call")], [0, 0], 2),
    ([with_hooks("before_model")], [0, 0], 0),
    ([with_hooks("after_agent")], [1, 2], 0),
    ([with_hooks(*HOOKS)], [0, 0], 0),
    ([PIIMiddleware("email"), guard()], [0, 0], 0),
]


@pytest.mark.parametrize(("middleware", "at_the_model", "final"), TABLE)
async def test_the_leak_table(
    middleware: list[AgentMiddleware], at_the_model: list[int], final: int
) -> None:
    for asynchronous in (False, True):
        model = script(screenshot)
        agent = guarded(model, *middleware)
        state = {"messages": [ask(ASKED)]}
        result = await agent.ainvoke(state) if asynchronous else agent.invoke(state)
        assert shown(model) == at_the_model
        assert raw(result) == final


@pytest.mark.parametrize("item", TOOLS, ids=lambda item: item.name)
async def test_no_tool_brings_a_raw_image_in(item: BaseTool, pictures: Pictures) -> None:
    for asynchronous in (False, True):
        model = script(item)
        agent = guarded(model, guard())
        state = {"messages": [ask(ASKED)]}
        result = await agent.ainvoke(state) if asynchronous else agent.invoke(state)
        assert shown(model) == [0, 0]
        assert raw(result) == 0
        assert result["messages"][-1].text == "it is a square"
        # Cleaned rather than removed: both pictures are still there, with the red block covered.
        found = pictures(result["messages"])
        assert len(found) >= 2
        x0, y0, x1, y1 = BOX
        assert all((image.pixels[y0:y1, x0:x1] == 127).all() for image in found)


def test_verdicts_are_in_the_state_and_survive_the_second_scan() -> None:
    result = guarded(script(screenshot), guard()).invoke({"messages": [ask(ASKED)]})
    for message in (result["messages"][0], result["messages"][2]):
        evidence = message.response_metadata["guardalign"]
        assert [v["action"] for v in evidence["verdicts"]] == ["mask"]


def test_an_image_is_scanned_once_in_a_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = picture()
    middleware = GuardAlignMiddleware(guard=red_guard())
    detector = middleware._cleaner.guard.get().detector
    counts: list[int] = []
    scan_many = detector.scan_many

    def counting(images: list[CanonicalImage]) -> Any:
        counts.append(len(images))
        return scan_many(images)

    monkeypatch.setattr(detector, "scan_many", counting)
    model = script(mcp, mcp, mcp)
    guarded(model, middleware).invoke({"messages": [ask(plain)]})
    assert len(model.seen) == 4
    # The user's; the tool's; the check of the mask. The masked one is known to the model's guard.
    assert counts == [1, 1, 1]


def test_what_another_middleware_adds_is_cleaned_when_the_guard_is_last() -> None:
    class Adds(AgentMiddleware):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            system = SystemMessage([{"type": "text", "text": "like this:"}, block(SHOWN)])
            return handler(
                request.override(messages=[*request.messages, ask(ASKED)], system_message=system)
            )

    model = script()
    guarded(model, Adds(), guard()).invoke({"messages": [HumanMessage("hello")]})
    assert shown(model) == [0]
    assert isinstance(model.seen[0][0], SystemMessage)


def test_an_image_from_the_model_is_cleaned_before_it_is_state(pictures: Pictures) -> None:
    drawing = AIMessage(["here", {"type": "image_generation_call", "result": base64_png(SHOWN)}])
    result = guarded(RecordingModel(answers=[drawing]), guard()).invoke({"messages": [ask(ASKED)]})
    assert raw(result) == 0
    assert len(pictures(result["messages"][-1])) == 1
    result = guarded(RecordingModel(answers=[drawing]), guard(on_unsafe="block")).invoke(
        {"messages": [ask()]}
    )
    assert raw(result) == 0
    assert UNSAFE in result["messages"][-1].text


async def test_a_fault_ends_the_run_and_the_model_sees_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(images: Any) -> Any:
        raise DetectionError("The distance is NaN.", stage="transport")

    middleware = guard()
    monkeypatch.setattr(middleware._cleaner.guard.get().detector, "scan_many", fail)
    model = script(screenshot)
    agent = guarded(model, middleware)
    with pytest.raises(DetectionError):
        agent.invoke({"messages": [ask(ASKED)]})
    assert model.seen == []
    with pytest.raises(DetectionError):
        await agent.ainvoke({"messages": [ask()]})
    assert shown(model) == [0]


async def test_nothing_blocks_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    middleware, waits = guard(), []
    detector = middleware._cleaner.guard.get().detector
    scan_many = detector.scan_many
    loop = asyncio.get_running_loop()

    def waiting(images: Any) -> Any:
        # Only a free loop runs this callback.
        free = threading.Event()
        loop.call_soon_threadsafe(free.set)
        waits.append(free.wait(300))
        return scan_many(images)

    monkeypatch.setattr(detector, "scan_many", waiting)
    await guarded(script(screenshot), middleware).ainvoke({"messages": [ask(ASKED)]})
    assert len(waits) >= 4
    assert all(waits)


def test_two_guards_in_one_agent_have_two_names() -> None:
    flagging, masking = guard(on_unsafe="flag"), guard()
    assert masking.name == "GuardAlignMiddleware[red, mask]"
    assert guard(name="mine").name == "mine"
    model = script(screenshot)
    guarded(model, flagging, masking).invoke({"messages": [ask(ASKED)]})
    assert shown(model) == [0, 0]


def test_wrong_options_are_refused() -> None:
    for wrong in ("ignore", "drop"):
        with pytest.raises(ConfigError, match="one of mask, notice, block, flag"):
            guard(on_unsafe=wrong)
    for name, accepted in (("on_refused", "raise, notice"), ("on_blocked", "reply, notice")):
        with pytest.raises(ConfigError, match=f"{name} should be one of {accepted}"):
            guard(**{name: "ignore"})
    with pytest.raises(ConfigError, match="Exactly one of preset and guard"):
        guard(preset="mini")
    with pytest.raises(ConfigError, match="no preset"):
        GuardAlignMiddleware(preset="nothing")
