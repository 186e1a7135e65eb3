"""The positions of an agent's conversation in which a picture can stand.

Each is a function of a content block and of the middleware to test, and returns the run of an agent
with the block in that position.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Annotated, Any

from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    ModelFallbackMiddleware,
    ToolRetryMiddleware,
)
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import BaseTool, InjectedToolCallId, tool
from langgraph.types import Command, interrupt

from langchain_guardalign.testing import RecordingModel

Block = Mapping[str, Any]
Guard = Callable[[], list[AgentMiddleware[Any, Any, Any]]]


class Unreachable(Exception):
    """What a provider raises that is down."""


class DownModel(RecordingModel):
    """A model whose provider is down."""

    answers: list[AIMessage] = []

    def _generate(self, *_: Any, **__: Any) -> Any:
        raise Unreachable


@dataclass
class Scenario:
    """The conversation and tools of an agent, with the picture in one position.

    Attributes:
        messages: the input.
        tool: called once, before the last answer.
        system_prompt: of the agent.
        before: middleware before the guard.
        model: the agent's own; None = one that calls the tool and answers.
        others: other models that are shown something.
        resume: inputs after the first one, each of which resumes the run.
    """

    messages: Sequence[BaseMessage] = (HumanMessage("What do you see?"),)
    tool: BaseTool | None = None
    system_prompt: SystemMessage | None = None
    before: Sequence[AgentMiddleware[Any, Any, Any]] = ()
    model: RecordingModel | None = None
    others: Sequence[RecordingModel] = ()
    resume: Sequence[Command[Any]] = ()


def content(block: Block) -> list[Any]:
    """Words and the picture, as the content of a message."""
    return [{"type": "text", "text": "Look at this."}, dict(block)]


def _calling() -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "c"}])


def _newest(block: Block, guard: Guard) -> Scenario:
    return Scenario([HumanMessage(content(block))])


def _older(block: Block, guard: Guard) -> Scenario:
    return Scenario([HumanMessage(content(block)), AIMessage("Yes."), HumanMessage("And now?")])


def _system(block: Block, guard: Guard) -> Scenario:
    return Scenario([SystemMessage(content(block)), HumanMessage("Hello.")])


def _prompt(block: Block, guard: Guard) -> Scenario:
    return Scenario(system_prompt=SystemMessage(content(block)))


def _assistant(block: Block, guard: Guard) -> Scenario:
    return Scenario([HumanMessage("Draw."), AIMessage(content(block)), HumanMessage("And now?")])


def _with_result(result: ToolMessage) -> Scenario:
    return Scenario(
        [HumanMessage("Look."), _calling(), result, AIMessage("Yes."), HumanMessage("And now?")]
    )


def _history(block: Block, guard: Guard) -> Scenario:
    return _with_result(ToolMessage(content(block), tool_call_id="c"))


def _nested(block: Block, guard: Guard) -> Scenario:
    output = {"type": "custom_tool_call_output", "call_id": "c", "output": content(block)}
    return _with_result(ToolMessage([output], tool_call_id="c"))


def _thumbnail(block: Block, guard: Guard) -> Scenario:
    file = {"type": "file", "mime_type": "text/plain", "base64": "SGVsbG8u", "id": "f"}
    return Scenario([HumanMessage([{**file, "extras": {"thumbnail": dict(block)}}])])


def _keywords(block: Block, guard: Guard) -> Scenario:
    # Some providers' classes merge the keywords into the request.
    return Scenario([HumanMessage("Look.", additional_kwargs={"content": content(block)})])


def _tool(block: Block, guard: Guard) -> Scenario:
    @tool
    def look() -> list[Any]:
        """Look at the screen."""
        return content(block)

    return Scenario(tool=look)


def _command(block: Block, guard: Guard) -> Scenario:
    @tool
    def look(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Look at the screen."""
        result = ToolMessage(content(block), tool_call_id=tool_call_id)
        return Command(update={"messages": [result]})

    return Scenario(tool=look)


def _artifact(block: Block, guard: Guard) -> Scenario:
    @tool(response_format="content_and_artifact")
    def look() -> tuple[str, Any]:
        """Look at the screen."""
        return "A screen.", {"shot": dict(block)}

    return Scenario(tool=look)


@dataclass
class _Shot:
    """A result of a program of one's own."""

    block: Block
    scale: InitVar[int] = 1
    parts: tuple[object, ...] = field(default=())


def _container(block: Block, guard: Guard) -> Scenario:
    @tool(response_format="content_and_artifact")
    def look() -> tuple[str, Any]:
        """Look at the screen."""
        return "A screen.", deque([_Shot({}, parts=(frozenset({1}), dict(block)))])

    return Scenario(tool=look)


def _dictionary(block: Block, guard: Guard) -> Scenario:
    @tool
    def look() -> dict[str, Any]:
        """Look at the screen, as an MCP server answers."""
        return {"content": content(block), "isError": False}

    return Scenario(tool=look)


def _error(block: Block, guard: Guard) -> Scenario:
    @tool
    def look() -> str:
        """Look at the screen, and fail."""
        raise ValueError(f"Cannot show {json.dumps(block, default=repr)}")

    return Scenario(tool=look, before=[ToolRetryMiddleware(max_retries=0)])


def _sub_agent(block: Block, guard: Guard) -> Scenario:
    @tool
    def look() -> Any:
        """Ask an unguarded agent."""
        inner: Any = create_agent(RecordingModel(answers=[AIMessage(content(block))]))
        return inner.invoke({"messages": [HumanMessage("Look.")]})["messages"][-1].content

    return Scenario(tool=look)


def _sub_agents_tool(block: Block, guard: Guard) -> Scenario:
    inner_model = RecordingModel(answers=[_calling(), AIMessage("A screen.")])
    seen = _tool(block, guard).tool
    assert seen is not None
    inner: Any = create_agent(inner_model, [seen], middleware=guard())

    @tool
    def look() -> Any:
        """Ask an agent that looks, with a guard of its own."""
        return inner.invoke({"messages": [HumanMessage("Look.")]})["messages"][-1].content

    return Scenario(tool=look, others=[inner_model])


def _fallback(block: Block, guard: Guard) -> Scenario:
    spare = RecordingModel(answers=[AIMessage("A picture.")])
    return Scenario(
        [HumanMessage(content(block))],
        before=[ModelFallbackMiddleware(spare)],
        model=DownModel(),
        others=[spare],
    )


def _middleware(block: Block, guard: Guard) -> Scenario:
    class Adds(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            added = HumanMessage(content(block))
            return handler(request.override(messages=[*request.messages, added]))

    return Scenario(before=[Adds()])


def _state(block: Block, guard: Guard) -> Scenario:
    class Writes(AgentMiddleware[Any, Any, Any]):
        def before_model(self, state: Any, runtime: Any) -> dict[str, Any]:
            return {"messages": [HumanMessage(content(block))]}

    return Scenario(before=[Writes()])


def _edited(block: Block, guard: Guard) -> Scenario:
    @tool
    def look(at: Any = None) -> str:
        """Look at something."""
        return "A screen."

    action = {"name": "look", "args": {"at": dict(block)}}
    decisions = [{"type": "edit", "edited_action": action}]
    return Scenario(
        tool=look,
        before=[HumanInTheLoopMiddleware({"look": {"allowed_decisions": ["edit"]}})],
        resume=[Command(resume={"decisions": decisions})],
    )


def _asking() -> BaseTool:
    @tool
    def look() -> Any:
        """Ask a human what is on the screen."""
        return interrupt("What is on the screen?")

    return look


def _resumed(block: Block, guard: Guard) -> Scenario:
    return Scenario(tool=_asking(), resume=[Command(resume=content(block))])


def _updated(block: Block, guard: Guard) -> Scenario:
    update = {"messages": [HumanMessage(content(block))]}
    return Scenario(tool=_asking(), resume=[Command(resume="Nothing.", update=update)])


POSITIONS: dict[str, Callable[[Block, Guard], Scenario]] = {
    "user message": _newest,
    "user message, older turn": _older,
    "user message, `additional_kwargs`": _keywords,
    "user message, thumbnail of a text file": _thumbnail,
    "system message in the history": _system,
    "system prompt of the agent": _prompt,
    "assistant message, older turn": _assistant,
    "tool result, older turn": _history,
    "tool result, nested in a block's `output`": _nested,
    "a tool returns it": _tool,
    "a tool returns a `Command` with it": _command,
    "a tool returns it as artifact": _artifact,
    "a tool returns a `deque` of dataclasses": _container,
    "a tool returns a dictionary with it": _dictionary,
    "a tool fails with it in the error": _error,
    "a sub-agent hands it up": _sub_agent,
    "a sub-agent's tool returns it": _sub_agents_tool,
    "the fallback's prompt": _fallback,
    "another middleware adds it": _middleware,
    "another middleware writes it to the state": _state,
    "a human edits a tool call": _edited,
    "a `Command` resumes a tool with it": _resumed,
    "a `Command` updates the state with it": _updated,
}
