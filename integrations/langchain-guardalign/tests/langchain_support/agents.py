"""A LangChain agent whose model records what it sees, and tools that return pictures."""

from __future__ import annotations

import base64
from typing import Annotated, Any

import numpy as np
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, InjectedToolCallId, tool
from langgraph.types import Command

from guardalign_middleware.testing import (
    BOX,
    all_red,
    base64_png,
    data_url,
    picture,
    png,
    red_guard,
)
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign import GuardAlignMiddleware, ImageGuardRunnable
from langchain_guardalign.testing import RecordingModel, holds_raw

# A region reaches a little beyond the thing, in pixels.
_RIM = 4
# Different pictures for the user and the tools, so that a test can tell them apart.
ASKED = picture(red=True)
SHOWN = picture(red=True, colour=(255, 255, 255))
RAW = (ASKED, SHOWN, all_red())


def raw(value: object) -> int:
    """How many of the original pictures a value contains, in any encoding."""
    text = repr(value)
    return sum(holds_raw(value, png(image)) or repr(image.to_pil()) in text for image in RAW)


def shown(model: RecordingModel) -> list[int]:
    """The number of raw pictures in each call of a model."""
    return [raw(messages) for messages in model.seen]


def block(image: CanonicalImage) -> dict[str, Any]:
    """An image block of LangChain."""
    return block_of(png(image), "image/png")


def block_of(data: bytes, mime_type: str) -> dict[str, Any]:
    """An image block of LangChain with any bytes and any type."""
    return {"type": "image", "base64": base64.b64encode(data).decode(), "mime_type": mime_type}


def ask(*images: CanonicalImage, text: str = "what is it ?", id: str | None = None) -> HumanMessage:
    """A question about pictures."""
    return HumanMessage([{"type": "text", "text": text}, *map(block, images)], id=id)


def covered(image: CanonicalImage) -> bool:
    """Whether the red block of `ASKED` is covered with grey, and nothing but its rim changed."""
    x0, y0, x1, y1 = BOX
    near = np.s_[y0 - _RIM : y1 + _RIM, x0 - _RIM : x1 + _RIM]
    rest = image.pixels.copy()
    rest[near] = ASKED.pixels[near]
    grey = bool((image.pixels[y0:y1, x0:x1] == 127).all())
    return grey and bool((rest == ASKED.pixels).all())


def red_runnable(**options: Any) -> ImageGuardRunnable:
    """The runnable around a guard that finds red things."""
    return ImageGuardRunnable(guard=red_guard(), **options)


@tool
def screenshot() -> list[dict[str, Any]]:
    """Take a screenshot."""
    return [{"type": "text", "text": "done"}, block(SHOWN)]


@tool
def string_url() -> list[dict[str, Any]]:
    """An image_url block whose URL is a string."""
    return [{"type": "image_url", "image_url": data_url(SHOWN)}]


@tool
def mcp() -> dict[str, Any]:
    """A dictionary, as MCP servers return; it becomes JSON text."""
    return {"content": [{"type": "image", "data": base64_png(SHOWN), "mimeType": "image/png"}]}


@tool
def page() -> str:
    """A web page."""
    return f"<h1>Title</h1><img src='{data_url(SHOWN)}'>"


@tool(response_format="content_and_artifact")
def artifact() -> tuple[str, dict[str, Any]]:
    """An answer in words, with the picture as artifact."""
    return "seen", {"shots": [png(SHOWN), {"data": base64_png(SHOWN)}]}


@tool
def command(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
    """A state update instead of an answer."""
    message = ToolMessage([block(SHOWN)], tool_call_id=tool_call_id, artifact=png(SHOWN))
    return Command(update={"messages": [message]})


@tool
def command_with_dictionary(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
    """A state update whose message is a dictionary."""
    message = {"role": "tool", "tool_call_id": tool_call_id, "content": [block(SHOWN)]}
    return Command(update={"messages": [message]})


@tool
def sub_agent() -> Any:
    """Another agent, unguarded, whose last message is returned."""
    inner = create_agent(RecordingModel(answers=[AIMessage([block(SHOWN)])]))
    return inner.invoke({"messages": [HumanMessage("look")]})["messages"][-1].content


@tool
def guarded_sub_agent() -> Any:
    """Another agent with its own guard, behind the runnable."""
    inner = create_agent(RecordingModel(answers=[AIMessage([block(SHOWN)])]), middleware=[guard()])
    chain = red_runnable() | inner
    return chain.invoke({"messages": [ask(ASKED)]})["messages"][-1].content


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


def script(*tools: BaseTool) -> RecordingModel:
    """A model that calls the tools one after the other, then answers."""
    calls = [
        AIMessage("", tool_calls=[{"name": item.name, "args": {}, "id": f"call-{number}"}])
        for number, item in enumerate(tools)
    ]
    return RecordingModel(answers=[*calls, AIMessage("it is a square")])


def guard(**options: Any) -> GuardAlignMiddleware:
    """The middleware around a guard that finds red things."""
    return GuardAlignMiddleware(guard=red_guard(), **options)


def guarded(model: RecordingModel, *middleware: AgentMiddleware, **options: Any) -> Any:
    """An agent with all tools and these middlewares."""
    return create_agent(
        model, tools=[*TOOLS, guarded_sub_agent], middleware=list(middleware), **options
    )
