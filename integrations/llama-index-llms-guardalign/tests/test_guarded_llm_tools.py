"""Tool calls through the guard around an LLM that makes them."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ToolCallBlock,
)
from llama_index.core.llms import LLM, ChatMessage
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.tools import FunctionTool

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.testing import has_red
from llama_index.llms.guardalign import GuardAlignGuardedLLM
from llama_index.llms.guardalign.function_calling import GuardedFunctionCallingLLM
from llama_index_support.conversations import BLOCKED, GUARD, UNSAFE, ask, decisions, image_block
from llama_index_support.doubles import PlainLLM, ToolLLM


def test_it_is_what_the_inner_llm_is() -> None:
    plain = GuardAlignGuardedLLM(llm=PlainLLM(), guard=GUARD)
    tools = GuardAlignGuardedLLM(llm=ToolLLM(), guard=GUARD)
    assert isinstance(plain, LLM)
    assert not isinstance(plain, FunctionCallingLLM)
    assert isinstance(tools, GuardAlignGuardedLLM)
    assert isinstance(tools, FunctionCallingLLM)
    assert plain.metadata == PlainLLM().metadata
    assert tools.metadata.is_function_calling_model
    assert "multi" in plain.class_name()
    with pytest.raises(ConfigError, match="GuardAlignGuardedLLM"):
        GuardedFunctionCallingLLM(llm=PlainLLM(), guard=GUARD).chat_with_tools([], "Hello?")


@pytest.mark.parametrize("where", ["user_msg", "chat_history"])
async def test_tool_calls_see_only_cleaned_images(where: str) -> None:
    inner = ToolLLM()
    llm: Any = GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    (message,) = ask(image_block(UNSAFE))
    given = {"user_msg": message} if where == "user_msg" else {"chat_history": [message]}
    tools = [FunctionTool.from_defaults(look)]
    responses: list[Any] = [
        llm.chat_with_tools(tools, **given, tool_required=True),
        await llm.achat_with_tools(tools, **given, tool_required=True),
        list(llm.stream_chat_with_tools(tools, **given, tool_required=True))[-1],
        [c async for c in await llm.astream_chat_with_tools(tools, **given, tool_required=True)][
            -1
        ],
    ]
    assert [has_red(image) for image in inner.seen] == [False] * 4
    assert inner.kwargs == [{"tools": ["look"], "tool_required": True}] * 4
    for response in responses:
        assert decisions(response) == ["mask"]
        assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
        with pytest.raises(ValueError, match="no tool call"):
            llm.get_tool_calls_from_response(response)


async def test_a_blocked_image_leads_to_no_tool_call() -> None:
    inner = ToolLLM(script=[CALL] * 9)
    llm: Any = GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    history = ask(image_block(BLOCKED))
    tools = [FunctionTool.from_defaults(look)]
    responses: list[Any] = [
        llm.chat_with_tools(tools, "Go.", history),
        await llm.achat_with_tools(tools, "Go.", history),
        list(llm.stream_chat_with_tools(tools, "Go.", history))[-1],
        [c async for c in await llm.astream_chat_with_tools(tools, "Go.", history)][-1],
    ]
    for response in responses:
        assert response.message.content == GUARD.config.blocked_reply
        assert llm.get_tool_calls_from_response(response) == []
    for called in (
        llm.predict_and_call(tools, "Go.", history),
        await llm.apredict_and_call(tools, "Go.", history),
    ):
        assert called.response == GUARD.config.blocked_reply
        assert called.sources == []
        assert called.metadata["guardalign"]["finish_reason"] == "blocked"
    assert inner.calls == []


def look(x: int) -> str:
    """Look at something."""
    return f"seen {x}"


CALL = ChatMessage(
    role="assistant",
    blocks=[ToolCallBlock(tool_name="look", tool_kwargs={"x": 3}, tool_call_id="1")],
)


async def test_predict_and_call_is_the_inner_llms() -> None:
    inner = ToolLLM(script=[CALL, CALL])
    llm = GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    (message,) = ask(image_block(UNSAFE))
    tools = [FunctionTool.from_defaults(look)]
    for called in (
        llm.predict_and_call(tools, message),
        await llm.apredict_and_call(tools, message),
    ):
        assert called.response == "seen 3"
        assert called.metadata is not None
        assert called.metadata["guardalign"]["verdicts"][0]["decision"] == "mask"
    assert [has_red(image) for image in inner.seen] == [False] * 2
