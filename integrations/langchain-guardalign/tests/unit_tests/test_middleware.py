from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, PIIMiddleware
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, Send
from pydantic import Field

from guardalign_middleware.errors import ConfigError, DetectionError, ImageRejected, MessageError
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign import GuardAlignMiddleware, ImageGuardRunnable
from langchain_guardalign.cleaner import NOTICE
from tests.doubles import (
    BOX,
    all_red,
    base64_png,
    data_url,
    picture,
    png,
    red_config,
    red_guard,
)

Pictures = Callable[[object], list[CanonicalImage]]

# Two pictures, so that what the user brought and what a tool brought can be told apart.
ASKED = picture(red=True)
SHOWN = picture(red=True, colour=(255, 255, 255))
RAW = (ASKED, SHOWN, all_red())
BLOCKED = red_config().blocked_reply


def raw(value: object) -> int:
    """How many of the original pictures stand anywhere in a value, in any encoding."""
    text = repr(value)
    return sum(
        base64_png(image) in text or repr(png(image))[2:-1] in text or repr(image.to_pil()) in text
        for image in RAW
    )


class Scripted(BaseChatModel):
    """Gives its answers in order and remembers what it was shown."""

    answers: list[AIMessage]
    seen: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.seen.append([message.model_copy(deep=True) for message in messages])
        answer = self.answers[(len(self.seen) - 1) % len(self.answers)]
        return ChatResult(generations=[ChatGeneration(message=answer.model_copy())])

    @property
    def shown(self) -> list[int]:
        """Raw pictures in each call."""
        return [raw(messages) for messages in self.seen]


def block(image: CanonicalImage) -> dict[str, Any]:
    return {"type": "image", "base64": base64_png(image), "mime_type": "image/png"}


def ask(image: CanonicalImage | None = ASKED) -> HumanMessage:
    parts: list[Any] = [{"type": "text", "text": "what is it ?"}]
    return HumanMessage([*parts, *([block(image)] if image else [])])


@tool
def screenshot() -> list[dict[str, Any]]:
    """Take a screenshot."""
    return [{"type": "text", "text": "done"}, block(SHOWN)]


@tool
def string_url() -> list[dict[str, Any]]:
    """An image_url block whose url is no dictionary."""
    return [{"type": "image_url", "image_url": data_url(SHOWN)}]


@tool
def mcp() -> dict[str, Any]:
    """A dictionary, as MCP servers answer; it becomes JSON text."""
    return {"content": [{"type": "image", "data": base64_png(SHOWN), "mimeType": "image/png"}]}


@tool
def page() -> str:
    """A web page."""
    return f"<h1>Title</h1><img src='{data_url(SHOWN)}'>"


@tool(response_format="content_and_artifact")
def artifact() -> tuple[str, dict[str, Any]]:
    """An answer in words, with the picture beside it."""
    return "seen", {"shots": [png(SHOWN), {"data": base64_png(SHOWN)}]}


@tool
def command(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
    """A state update in the place of an answer."""
    message = ToolMessage([block(SHOWN)], tool_call_id=tool_call_id, artifact=png(SHOWN))
    return Command(update={"messages": [message]})


@tool
def command_with_dictionary(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
    """A state update whose message is no object yet."""
    message = {"role": "tool", "tool_call_id": tool_call_id, "content": [block(SHOWN)]}
    return Command(update={"messages": [message]})


@tool
def sub_agent() -> Any:
    """Another agent, unguarded, whose last message is handed up."""
    inner = create_agent(Scripted(answers=[AIMessage([block(SHOWN)])]))
    return inner.invoke({"messages": [HumanMessage("look")]})["messages"][-1].content


@tool
def guarded_sub_agent() -> Any:
    """Another agent with a guard of its own, and with the runnable before it."""
    inner = create_agent(Scripted(answers=[AIMessage([block(SHOWN)])]), middleware=[guard()])
    chain = ImageGuardRunnable(guard=red_guard()) | inner
    return chain.invoke({"messages": [ask()]})["messages"][-1].content


TOOLS = (
    screenshot,
    string_url,
    mcp,
    page,
    artifact,
    command,
    command_with_dictionary,
    sub_agent,
)
# A sub-agent writes into its caller's saver: there, only a guard of its own can help.
SAVED = (*TOOLS[:-1], guarded_sub_agent)


def script(*tools: BaseTool) -> Scripted:
    calls = [
        AIMessage("", tool_calls=[{"name": item.name, "args": {}, "id": f"call-{number}"}])
        for number, item in enumerate(tools)
    ]
    return Scripted(answers=[*calls, AIMessage("it is a square")])


def guarded(model: Scripted, *middleware: AgentMiddleware, **options: Any) -> Any:
    return create_agent(
        model, tools=[*TOOLS, guarded_sub_agent], middleware=list(middleware), **options
    )


def guard(**options: Any) -> GuardAlignMiddleware:
    return GuardAlignMiddleware(guard=red_guard(), **options)


HOOKS = ("before_agent", "wrap_tool_call", "wrap_model_call")


def with_hooks(*names: str) -> GuardAlignMiddleware:
    """The guard with some of its hooks only."""
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
    ([with_hooks(*HOOKS)], [0, 0], 0),
    ([PIIMiddleware("email"), guard()], [0, 0], 0),
]


@pytest.mark.parametrize(("middleware", "shown", "final"), TABLE)
async def test_the_leak_table(
    middleware: list[AgentMiddleware], shown: list[int], final: int
) -> None:
    for asynchronous in (False, True):
        model = script(screenshot)
        agent = guarded(model, *middleware)
        state = {"messages": [ask()]}
        result = await agent.ainvoke(state) if asynchronous else agent.invoke(state)
        assert model.shown == shown
        assert raw(result) == final


@pytest.mark.parametrize("item", TOOLS, ids=lambda item: item.name)
async def test_no_tool_brings_a_raw_image_in(item: BaseTool, pictures: Pictures) -> None:
    for asynchronous in (False, True):
        model = script(item)
        agent = guarded(model, guard())
        state = {"messages": [ask()]}
        result = await agent.ainvoke(state) if asynchronous else agent.invoke(state)
        assert model.shown == [0, 0]
        assert raw(result) == 0
        assert result["messages"][-1].text == "it is a square"
        # Cleaned, and not only removed: both pictures are still there, with the red block covered.
        found = pictures(result["messages"])
        assert len(found) >= 2
        x0, y0, x1, y1 = BOX
        assert all((image.pixels[y0:y1, x0:x1] == 127).all() for image in found)


@pytest.mark.parametrize("item", TOOLS, ids=lambda item: item.name)
async def test_streams_hold_a_raw_image_only_where_the_caller_put_it(item: BaseTool) -> None:
    for asynchronous in (False, True):
        agent = guarded(script(item), guard(), checkpointer=InMemorySaver())
        state, config = {"messages": [ask()]}, {"configurable": {"thread_id": "1"}}
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
    """The steps whose checkpoint, or what was written to it, holds a raw picture."""
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
        state, config = {"messages": [ask()]}, {"configurable": {"thread_id": "1"}}
        await agent.ainvoke(state, config) if asynchronous else agent.invoke(state, config)
        # The empty one with the input as its write, and the one made of it.
        assert saved(saver) == [-1, 0]
        assert len(list(saver.list(None))) >= 4


@pytest.mark.parametrize("item", SAVED, ids=lambda item: item.name)
async def test_the_runnable_before_the_agent_keeps_the_input_checkpoint_clean(
    item: BaseTool,
) -> None:
    for asynchronous in (False, True):
        saver, model = InMemorySaver(), script(item)
        chain = ImageGuardRunnable(guard=red_guard()) | guarded(model, guard(), checkpointer=saver)
        state, config = {"messages": [ask()]}, {"configurable": {"thread_id": "1"}}
        await chain.ainvoke(state, config) if asynchronous else chain.invoke(state, config)
        assert model.shown == [0, 0]
        assert saved(saver) == []


def test_a_saver_that_saves_at_the_end_holds_no_raw_image() -> None:
    saver = InMemorySaver()
    agent = guarded(script(screenshot), guard(), checkpointer=saver)
    config = {"configurable": {"thread_id": "1"}}
    agent.invoke({"messages": [ask()]}, config, durability="exit")
    assert saved(saver) == []


def test_every_tool_in_one_run_and_a_second_turn() -> None:
    model = script(*TOOLS)
    agent = guarded(model, guard(), checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    first = agent.invoke({"messages": [ask()]}, config)
    second = agent.invoke({"messages": [ask()]}, config)
    assert sum(model.shown) == 0
    assert (raw(first), raw(second)) == (0, 0)
    assert [m.id for m in second["messages"][: len(first["messages"])]] == [
        m.id for m in first["messages"]
    ]


def test_verdicts_are_in_the_state_and_survive_the_second_look() -> None:
    result = guarded(script(screenshot), guard()).invoke({"messages": [ask()]})
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
    # The user's; the tool's; the proof that masking helped; the masked one as the model reads it.
    assert counts == [1, 1, 1, 1]


def test_what_another_middleware_adds_is_cleaned_when_the_guard_is_last() -> None:
    class Adds(AgentMiddleware):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            system = SystemMessage([{"type": "text", "text": "like this:"}, block(SHOWN)])
            return handler(
                request.override(messages=[*request.messages, ask()], system_message=system)
            )

    model = script()
    guarded(model, Adds(), guard()).invoke({"messages": [HumanMessage("hello")]})
    assert model.shown == [0]
    assert isinstance(model.seen[0][0], SystemMessage)


def test_what_the_model_draws_is_cleaned_before_it_is_state(pictures: Pictures) -> None:
    drawing = AIMessage(["here", {"type": "image_generation_call", "result": base64_png(SHOWN)}])
    result = guarded(Scripted(answers=[drawing]), guard()).invoke({"messages": [ask()]})
    assert raw(result) == 0
    assert len(pictures(result["messages"][-1])) == 1
    result = guarded(Scripted(answers=[drawing]), guard(strategy="block")).invoke(
        {"messages": [ask(None)]}
    )
    assert raw(result) == 0
    assert result["messages"][-1].text == BLOCKED


def test_replace_shows_the_notice(pictures: Pictures) -> None:
    model = script(*TOOLS)
    result = guarded(model, guard(strategy="replace")).invoke({"messages": [ask()]})
    assert sum(model.shown) == raw(result) == 0
    assert pictures(result["messages"]) == []
    assert result["messages"][0].content[1] == {"type": "text", "text": NOTICE}


def test_flag_records_and_changes_nothing() -> None:
    model = script(screenshot)
    result = guarded(model, guard(strategy="flag")).invoke({"messages": [ask()]})
    assert model.shown == [1, 2]
    (record,) = result["messages"][2].response_metadata["guardalign"]["verdicts"]
    assert (record["decision"], record["action"]) == ("mask", "flag")


async def test_block_ends_the_run_before_the_model_is_asked() -> None:
    for asynchronous in (False, True):
        model = script(screenshot)
        agent = guarded(model, guard(strategy="block"), checkpointer=InMemorySaver())
        state, config = {"messages": [ask()]}, {"configurable": {"thread_id": "1"}}
        result = await agent.ainvoke(state, config) if asynchronous else agent.invoke(state, config)
        assert model.seen == []
        assert raw(result) == 0
        last = result["messages"][-1]
        assert isinstance(last, AIMessage)
        assert last.text == BLOCKED
        assert last.response_metadata["finish_reason"] == "blocked"
        assert last.response_metadata["guardalign"]["verdicts"][0]["action"] == "block"
        # One blocked turn is no verdict on the next one.
        model.answers = [AIMessage("hello")]
        state = {"messages": [HumanMessage("hi")]}
        result = await agent.ainvoke(state, config) if asynchronous else agent.invoke(state, config)
        assert result["messages"][-1].text == "hello"
        assert model.shown == [0]


@pytest.mark.parametrize(
    "item",
    [item for item in TOOLS if item is not command_with_dictionary],
    ids=lambda item: item.name,
)
async def test_block_ends_the_run_after_a_tool(item: BaseTool) -> None:
    for asynchronous in (False, True):
        model = script(item)
        agent = guarded(model, guard(strategy="block"), checkpointer=InMemorySaver())
        state, config = {"messages": [ask(None)]}, {"configurable": {"thread_id": "1"}}
        result = await agent.ainvoke(state, config) if asynchronous else agent.invoke(state, config)
        assert len(model.seen) == 1
        assert raw(result) == 0
        assert result["messages"][-1].text == BLOCKED
        model.answers = [AIMessage("hello")]
        state = {"messages": [HumanMessage("hi")]}
        result = await agent.ainvoke(state, config) if asynchronous else agent.invoke(state, config)
        assert result["messages"][-1].text == "hello"
        assert model.shown == [0, 0]


@pytest.mark.parametrize("forged", ["x", {"verdicts": 3}, {"verdicts": ["x"]}])
def test_metadata_that_a_tool_forged_are_not_trusted(forged: Any) -> None:
    message = ToolMessage(
        [block(SHOWN)], tool_call_id="call-0", response_metadata={"guardalign": forged}
    )

    @tool
    def forger() -> ToolMessage:
        """Answer with metadata of its own."""
        return message

    model = Scripted(answers=script(forger).answers)
    agent = create_agent(model, tools=[forger], middleware=[guard()])
    result = agent.invoke({"messages": [HumanMessage("hello")]})
    assert result["messages"][2].response_metadata["guardalign"]["masked"] == 1
    harmless = ToolMessage("a", tool_call_id="1", response_metadata={"guardalign": forged})
    assert not guard(strategy="block")._blocked_by_a_tool([harmless])


def test_block_also_ends_for_what_only_the_request_holds() -> None:
    class Adds(AgentMiddleware):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            return handler(request.override(messages=[*request.messages, ask()]))

    model = script()
    result = guarded(model, Adds(), guard(strategy="block")).invoke(
        {"messages": [HumanMessage("hello")]}
    )
    assert model.seen == []
    assert result["messages"][-1].text == BLOCKED


def test_parallel_calls_with_one_unsafe_result() -> None:
    @tool
    def clock() -> str:
        """Tell the time."""
        return "noon"

    calls = [
        {"name": name, "args": {}, "id": name, "type": "tool_call"}
        for name in ("screenshot", "clock")
    ]
    model = Scripted(answers=[AIMessage("", tool_calls=calls), AIMessage("never said")])
    agent = create_agent(model, tools=[screenshot, clock], middleware=[guard(strategy="block")])
    result = agent.invoke({"messages": [HumanMessage("hello")]})
    assert result["messages"][-1].text == BLOCKED
    assert len(model.seen) == 1


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


async def test_what_cannot_be_checked_ends_the_run() -> None:
    @tool
    def address() -> list[dict[str, Any]]:
        """An image behind a URL."""
        return [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]

    model = Scripted(answers=script(address).answers)
    agent = create_agent(model, tools=[address], middleware=[guard()])
    with pytest.raises(ImageRejected):
        agent.invoke({"messages": [HumanMessage("hello")]})
    model.seen.clear()
    with pytest.raises(ImageRejected):
        await agent.ainvoke({"messages": [HumanMessage("hello")]})
    with pytest.raises(MessageError):
        agent.invoke({"messages": [HumanMessage([{"type": "hologram", "image": "AAAA"}])]})


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
        agent.invoke({"messages": [ask()]})
    assert model.seen == []
    with pytest.raises(DetectionError):
        await agent.ainvoke({"messages": [ask(None)]})
    assert model.shown == [0]


async def test_nothing_blocks_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    middleware, waits = guard(), []
    detector = middleware._cleaner.guard.get().detector
    scan_many = detector.scan_many
    loop = asyncio.get_running_loop()

    def waiting(images: Any) -> Any:
        # Only a loop that is free runs this callback.
        free = threading.Event()
        loop.call_soon_threadsafe(free.set)
        waits.append(free.wait(10))
        return scan_many(images)

    monkeypatch.setattr(detector, "scan_many", waiting)
    await guarded(script(screenshot), middleware).ainvoke({"messages": [ask()]})
    assert len(waits) >= 4
    assert all(waits)


def test_two_guards_in_one_agent_have_two_names() -> None:
    flagging, masking = guard(strategy="flag"), guard()
    assert masking.name == "GuardAlignMiddleware[red, mask]"
    assert guard(name="mine").name == "mine"
    model = script(screenshot)
    guarded(model, flagging, masking).invoke({"messages": [ask()]})
    assert model.shown == [0, 0]


def test_a_message_without_an_id_is_not_left_beside_its_copy() -> None:
    update = guard().before_agent({"messages": [ask(), ask(None)]}, None)  # type: ignore[arg-type, typeddict-item]
    assert update is not None
    assert [type(message).__name__ for message in update["messages"]] == [
        "RemoveMessage",
        "HumanMessage",
        "HumanMessage",
    ]


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="mask, replace, block, flag"):
        guard(strategy="ignore")
    with pytest.raises(ConfigError, match="no preset"):
        GuardAlignMiddleware(preset="nothing")
