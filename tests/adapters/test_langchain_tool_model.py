"""`ChatGuardAlign` with a tiny model that has learned to call a tool."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool

from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.testing import red_guard
from langchain_guardalign import ChatGuardAlign
from tests.support.tiny.tools import runner_of, teach, tool_model

CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 2, "b": 3}}\n</tool_call>'


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> ChatGuardAlign:
    runner = runner_of(tool_model(tmp_path_factory.mktemp("tools")))
    conversation = [{"role": "user", "content": "Add 2 and 3."}]
    teach(runner, conversation, [convert_to_openai_tool(add)], CALL)
    return ChatGuardAlign(chain=GuardAlign(red_guard(), runner))


@pytest.mark.slow
async def test_a_tiny_model_calls_a_tool(learned: ChatGuardAlign) -> None:
    assert learned.profile is not None
    assert learned.profile["tool_calling"] is True
    bound = learned.bind_tools([add])
    reply = bound.invoke("Add 2 and 3.")
    assert [(call["name"], call["args"]) for call in reply.tool_calls] == [
        ("add", {"a": 2, "b": 3})
    ]
    assert reply.text == ""
    whole: Any = None
    async for chunk in bound.astream("Add 2 and 3."):
        whole = chunk if whole is None else whole + chunk
    assert whole.tool_calls[0]["args"] == {"a": 2, "b": 3}
    call = reply.tool_calls[0]
    assert add.invoke(call["args"]) == 5


def test_tools_count_as_tokens(learned: ChatGuardAlign) -> None:
    messages = [HumanMessage("Add 2 and 3.")]
    with_tools = learned.get_num_tokens_from_messages(messages, tools=[add])
    assert with_tools > learned.get_num_tokens_from_messages(messages) + 50
