"""Agents over a real MCP server, which is a process of its own."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_mcp_adapters.tools import load_mcp_tools
from langgraph.checkpoint.memory import InMemorySaver
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.llms import ChatMessage
from llama_index.tools.mcp import McpToolSpec
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from guardalign_middleware.testing import base64_png, picture, png, red_guard
from guardalign_middleware.testing.harmless import files
from langchain_guardalign import GuardAlignMiddleware
from langchain_guardalign.testing import RecordingModel, holds_raw
from llama_index.llms.guardalign import GuardAlignGuardedLLM
from llama_index_support.conversations import ignore_agent_warnings
from llama_index_support.doubles import ToolLLM

pytestmark = [ignore_agent_warnings, pytest.mark.slow]

SERVER = Path(__file__).parents[1] / "support" / "mcp_server.py"
UNSAFE, SAFE = png(picture(red=True)), png(picture())
TOOLS = (
    "screenshot",
    "screen_in_words",
    "logo",
    "page",
    "attachment",
    "note",
    "found",
    "report",
    "record",
    "broken",
)
SHOW_THE_PICTURE = {
    "screenshot",
    "screen_in_words",
    "page",
    "attachment",
    "note",
    "record",
    "broken",
}
"""Tools that return the unsafe picture."""


@asynccontextmanager
async def session(folder: Path) -> AsyncIterator[ClientSession]:
    """A client of the server."""
    (folder / "unsafe.png").write_bytes(UNSAFE)
    (folder / "safe.png").write_bytes(SAFE)
    (folder / "report.pdf").write_bytes(files()["pdf"])
    parameters = StdioServerParameters(command=sys.executable, args=[str(SERVER), str(folder)])
    async with (
        stdio_client(parameters) as (incoming, outgoing),
        ClientSession(incoming, outgoing) as client,
    ):
        await client.initialize()
        yield client


async def run_langchain(folder: Path, *middleware: Any) -> tuple[RecordingModel, Any, Any]:
    """The model, the final state and the saver of an agent that calls every tool."""
    calls = [AIMessage("", tool_calls=[{"name": name, "args": {}, "id": name}]) for name in TOOLS]
    model, saver = RecordingModel(answers=[*calls, AIMessage("Done.")]), InMemorySaver()
    async with session(folder) as client:
        tools = await load_mcp_tools(client)
        assert {tool.name for tool in tools} == set(TOOLS)
        agent: Any = create_agent(model, tools, middleware=middleware, checkpointer=saver)
        state = await agent.ainvoke(
            {"messages": [HumanMessage("Call each tool.")]}, {"configurable": {"thread_id": "1"}}
        )
    return model, state, saver


async def test_langchain(tmp_path: Path) -> None:
    model, state, saver = await run_langchain(tmp_path, GuardAlignMiddleware(guard=red_guard()))
    results = {item.tool_call_id: item for item in state["messages"] if type(item) is ToolMessage}
    assert list(results) == list(TOOLS)
    assert state["messages"][-1].text == "Done."
    for value in (model.seen, state, list(saver.list(None))):
        assert not holds_raw(value, UNSAFE)
    # The words around a picture stay, and so do safe pictures.
    assert results["page"].text.startswith("<h1>Title</h1><img src='data:image/png;base64,")
    words = [
        block["text"] for block in results["screen_in_words"].content if block["type"] == "text"
    ]
    assert words == ["Before.", "After."]
    (logo,) = results["logo"].content
    assert (
        picture().pixels
        == red_guard().load(f"data:{logo['mime_type']};base64,{logo['base64']}").pixels
    ).all()
    # What cannot be checked is named, and the agent goes on.
    assert "Found one." in results["found"].text
    assert "not shown: it is behind a link" in results["found"].text
    assert "not shown" in results["report"].text
    assert "example.org" not in repr(results["found"].content)


async def test_langchain_without_a_guard(tmp_path: Path) -> None:
    """The tools do return the picture."""
    _, state, _ = await run_langchain(tmp_path)
    assert SHOW_THE_PICTURE == {
        item.tool_call_id
        for item in state["messages"]
        if type(item) is ToolMessage and holds_raw(item, UNSAFE)
    }


async def run_llama_index(folder: Path, wrap: Any) -> tuple[ToolLLM, Any]:
    """The LLM and the result of an agent that calls every tool."""
    calls = [
        ChatMessage(
            role="assistant",
            blocks=[ToolCallBlock(tool_name=name, tool_kwargs={}, tool_call_id=name)],
        )
        for name in TOOLS
    ]
    inner = ToolLLM(script=[*calls, ChatMessage(role="assistant", content="Done.")])
    async with session(folder) as client:
        tools = await McpToolSpec(client).to_tool_list_async()
        agent = FunctionAgent(llm=wrap(inner), tools=tools, streaming=False)
        result = await agent.run(user_msg="Call each tool.", max_iterations=50)
    return inner, result


async def test_llama_index(tmp_path: Path) -> None:
    inner, result = await run_llama_index(
        tmp_path, lambda llm: GuardAlignGuardedLLM(llm=llm, guard=red_guard())
    )
    assert str(result) == "Done."
    assert len(inner.calls) == len(TOOLS) + 1
    assert not holds_raw(inner.calls, UNSAFE)
    results = {
        message.additional_kwargs["tool_call_id"]: message.content or ""
        for message in inner.calls[-1]
        if message.role == "tool"
    }
    assert list(results) == list(TOOLS)
    assert base64_png(picture()) in results["logo"]
    assert "<h1>Title</h1><img src='data:image/png;base64," in results["page"]
    assert "https://example.org/a.png" in results["found"]


async def test_llama_index_without_a_guard(tmp_path: Path) -> None:
    inner, _ = await run_llama_index(tmp_path, lambda llm: llm)
    assert SHOW_THE_PICTURE == {
        message.additional_kwargs["tool_call_id"]
        for message in inner.calls[-1]
        if message.role == "tool" and holds_raw(message.blocks, UNSAFE)
    }
