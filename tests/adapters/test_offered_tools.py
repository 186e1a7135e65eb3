"""The tools that unchanged clients offer pass the guard in front of another service."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import httpx
import openai
import pytest
from anthropic.types import ToolUnionParam
from anthropic.types.beta import BetaToolUnionParam
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage
from langchain_core.tools import BaseTool, tool
from langchain_openai import ChatOpenAI
from openai.types.chat import ChatCompletionToolUnionParam
from openai.types.responses import ToolParam
from pydantic import BaseModel

from guardalign_middleware.conversation import CHAT, MESSAGES, RESPONSES, ConversationGuard, Dialect
from guardalign_middleware.conversation.tools import tool_fault
from guardalign_middleware.testing import red_guard

# Keys that may have certain values only.
SET: Mapping[str, Any] = {"environment": "browser", "search_content_types": ["text"]}


@pytest.fixture(scope="module")
def guard() -> ConversationGuard:
    return ConversationGuard(red_guard())


@tool
def look(image_url: str) -> str:
    """Look at a picture."""
    return image_url


@tool(extras={"defer_loading": True, "cache_control": {"type": "ephemeral"}})
def draw(text: str) -> str:
    """Draw a text."""
    return text


TOOLS: list[BaseTool] = [look, draw]


class Look(BaseModel):
    """Look at a picture."""

    image_url: str | None


@pytest.mark.parametrize(
    ("options", "dialect"), [({}, CHAT), ({"use_responses_api": True}, RESPONSES)]
)
def test_the_tools_of_chat_openai(
    guard: ConversationGuard, options: dict[str, Any], dialect: Dialect
) -> None:
    model = ChatOpenAI(model="gpt-5.4", api_key="k", **options)
    bound: Any = model.bind_tools(TOOLS, strict=True, parallel_tool_calls=False, tool_choice="look")
    body = bound.bound._get_request_payload([HumanMessage("?")], **bound.kwargs)
    assert len(body["tools"]) == 2
    assert guard.clean(body, dialect).body is body


def test_the_tools_of_chat_anthropic(guard: ConversationGuard) -> None:
    own = {"type": "bash_20250124", "name": "bash"}
    bound: Any = ChatAnthropic(model="claude-sonnet-5", api_key="k").bind_tools([*TOOLS, own])
    body = bound.bound._get_request_payload([HumanMessage("?")], **bound.kwargs)
    assert len(body["tools"]) == 3
    assert guard.clean(body, MESSAGES).body is body


def test_the_tools_of_the_openai_client(guard: ConversationGuard) -> None:
    sent: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(400, json={})

    transport: Any = httpx.Client(transport=httpx.MockTransport(answer))
    with openai.OpenAI(api_key="k", http_client=transport, max_retries=0) as client:
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(
                model="m",
                messages=[{"role": "user", "content": "?"}],
                tools=[openai.pydantic_function_tool(Look)],
                parallel_tool_calls=True,
            )
        with pytest.raises(openai.BadRequestError):
            client.responses.create(
                model="m",
                input="?",
                tools=[
                    {"type": "function", "name": "f", "parameters": {}, "strict": True},
                    {"type": "web_search"},
                ],
            )
    for body, dialect in zip(sent, (CHAT, RESPONSES), strict=True):
        assert body["tools"]
        assert guard.clean(body, dialect).body is body


def definitions(union: Any) -> Iterator[tuple[str, set[str]]]:
    """Types of tools, and the keys that a client's library has for them."""
    for param in get_args(union):
        hints = get_type_hints(param)
        kinds = [hints["type"], *get_args(hints["type"])]
        for literal in kinds:
            if get_origin(literal) is Literal:
                yield from ((kind, set(hints)) for kind in get_args(literal))


@pytest.mark.parametrize(
    ("union", "dialect"),
    [
        (ChatCompletionToolUnionParam, CHAT),
        (ToolParam, RESPONSES),
        (ToolUnionParam, MESSAGES),
        (BetaToolUnionParam, MESSAGES),
    ],
)
def test_every_key_that_the_clients_have(union: Any, dialect: Dialect) -> None:
    known = 0
    for kind, keys in definitions(union):
        tool = {key: SET.get(key, True) for key in keys} | {"type": kind}
        fault = tool_fault(tool, dialect.walk.tools, "tool")
        if fault is None:
            known += 1
        else:
            assert f"is the tool {kind!r}" in str(fault)
    assert known >= 2
