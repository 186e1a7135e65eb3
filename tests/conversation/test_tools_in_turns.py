"""Tools that are offered in the middle of a conversation are judged as those of the request."""

from typing import Any

import pytest

from guardalign_middleware.conversation import (
    CHAT,
    MESSAGES,
    RESPONSES,
    ConversationGuard,
    Dialect,
    Handling,
)
from guardalign_middleware.errors import MessageError
from guardalign_middleware.testing import all_red, png, red_guard
from tests.conversation.offered import CACHED, CODE, FLAT, FUNCTION, MCP, SCHEMA, Tool
from tests.conversation.positions import LOOK, WORDS, ask, chat, respond, said, url


@pytest.fixture(scope="module")
def guard() -> ConversationGuard:
    return ConversationGuard(red_guard())


def definition(offered: Tool) -> Tool:
    tool = {"type": "tool_definition", "definition": offered}
    return {"type": "tool_addition", "tool": tool, **CACHED}


FETCH: Tool = {"type": "web_fetch_20260318", "name": "web_fetch"}
ANTHROPICS: Tool = {"name": "f", "input_schema": SCHEMA}
LATER: dict[str, tuple[Dialect, dict[str, Any], str]] = {
    "a remote tool": (
        RESPONSES,
        respond(WORDS, {"type": "additional_tools", "role": "developer", "tools": [FLAT, MCP]}),
        "input[1].tools[1]",
    ),
    "code with files": (
        RESPONSES,
        respond({"type": "additional_tools", "role": "developer", "tools": [CODE]}, WORDS),
        "input[0].tools[0]",
    ),
    "in an item of another kind": (
        RESPONSES,
        respond(WORDS, {"type": "more_tools", "role": "developer", "tools": [MCP]}),
        "input[1].tools[0]",
    ),
    "in an item without a type": (
        RESPONSES,
        respond(WORDS, {"role": "developer", "content": "x", "tools": [MCP]}),
        "input[1].tools[0]",
    ),
    "in a message of chat": (
        CHAT,
        chat(said("system", LOOK, tools=[{"url_context": {}}]), said("user", LOOK)),
        "messages[0].tools[0]",
    ),
    "beside a result in JSON": (
        CHAT,
        chat(said("user", LOOK, {"type": "json", "json": {"tools": []}, "tools": [MCP]})),
        "messages[0].content[1].tools[0]",
    ),
    "in a list of another kind": (
        RESPONSES,
        respond(WORDS, {"type": "additional_tools", "role": "developer", "tools": {"0": MCP}}),
        "input[1].tools",
    ),
    "Anthropic's": (
        MESSAGES,
        ask(said("user", LOOK), said("system", definition(FETCH))),
        "messages[1].content[0].tool.definition",
    ),
    "Anthropic's, of no tool": (
        MESSAGES,
        ask(said("user", LOOK), said("system", definition({"url_context": {}}))),
        "messages[1].content[0].tool.definition",
    ),
    "Anthropic's, in a summary": (
        MESSAGES,
        ask(
            said(
                "user", {"type": "compaction", "content": "x", "tool_changes": [definition(FETCH)]}
            )
        ),
        "messages[0].content[0].tool_changes[0].tool.definition",
    ),
}


@pytest.mark.parametrize(("dialect", "body", "place"), LATER.values(), ids=LATER)
def test_tools_that_are_offered_in_the_conversation(
    guard: ConversationGuard, dialect: Dialect, body: dict[str, Any], place: str
) -> None:
    with pytest.raises(MessageError) as caught:
        guard.clean(body, dialect)
    assert str(caught.value).startswith(f"{place} ")
    lenient = ConversationGuard(red_guard(), Handling(allow_unscanned=True))
    assert lenient.clean(body, dialect).body == body
    # In an older turn, the conversation goes on without it.
    key = dialect.walk.turns_key
    later = [*body[key], {"role": "assistant", "content": "?"}, {"role": "user", "content": "!"}]
    cleaned = guard.clean({**body, key: later}, dialect).body[key]
    assert all(word not in str(cleaned) for word in ("web_fetch", "url_context", "mcp", "file_ids"))
    assert len(cleaned) == len(later)


def test_what_a_search_for_tools_found_loses_only_what_is_remote(guard: ConversationGuard) -> None:
    call = {"type": "tool_search_call", "call_id": "c", "arguments": {}}
    found = {"type": "tool_search_output", "call_id": "c", "execution": "client"}
    body = respond(WORDS, call, {**found, "tools": [MCP, FLAT]})
    cleaned = guard.clean(body, RESPONSES)
    assert cleaned.body["input"] == [WORDS, call, {**found, "tools": [FLAT]}]
    assert cleaned.to_json()["refused"][0]["place"] == "input[2].tools[0]"


OFFERED_LATER: dict[str, tuple[Dialect, dict[str, Any]]] = {
    "in a message of chat": (
        CHAT,
        chat(said("system", LOOK, tools=[FUNCTION]), said("user", LOOK, tools=None)),
    ),
    "additional tools": (
        RESPONSES,
        respond(
            WORDS, {"type": "additional_tools", "role": "developer", "tools": [FLAT], "id": None}
        ),
    ),
    "found tools": (
        RESPONSES,
        respond(
            WORDS,
            {
                "type": "tool_search_output",
                "call_id": "c",
                "tools": [{"type": "namespace", "name": "n", "tools": [{**FLAT, "strict": True}]}],
            },
        ),
    ),
    "a server's list": (
        RESPONSES,
        respond(
            WORDS,
            {
                "type": "mcp_list_tools",
                "id": "m",
                "server_label": "x",
                "tools": [{"name": "f", "input_schema": SCHEMA, "annotations": {"x": True}}],
            },
        ),
    ),
    "a choice of tools": (
        RESPONSES,
        respond(
            WORDS,
            tool_choice={
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "mcp", "server_label": "x"}, {"type": "function", "name": "f"}],
            },
        ),
    ),
    "Anthropic's": (
        MESSAGES,
        ask(said("user", LOOK), said("system", definition(ANTHROPICS))),
    ),
    "names in a message": (CHAT, chat(said("user", LOOK), said("assistant", LOOK, tools=["a"]))),
    "names in a block": (CHAT, chat(said("user", {"type": "custom_event", "tools": ["a"]}))),
    "a result in JSON": (
        CHAT,
        chat(said("user", {"json": {"image": "x.png", "tools": [MCP], "more": {"tools": [MCP]}}})),
    ),
    "a result in JSON, with a type": (
        CHAT,
        chat(said("user", {"type": "json", "json": {"tools": [MCP]}})),
    ),
    "Anthropic's, by its name": (
        MESSAGES,
        ask(
            said("user", LOOK),
            said(
                "system",
                {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}},
                {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "g"}},
            ),
        ),
    ),
    "a call with tools among its arguments": (
        MESSAGES,
        ask(
            said("user", LOOK),
            said(
                "assistant", {"type": "tool_use", "id": "t", "name": "f", "input": {"tools": ["x"]}}
            ),
            said("user", {"type": "tool_result", "tool_use_id": "t", "content": "ok"}),
        ),
    ),
}


@pytest.mark.parametrize(("dialect", "body"), OFFERED_LATER.values(), ids=OFFERED_LATER)
def test_what_is_offered_in_the_conversation_and_shows_no_picture(
    guard: ConversationGuard, dialect: Dialect, body: dict[str, Any]
) -> None:
    cleaned = guard.clean(body, dialect)
    assert cleaned.body is body
    assert cleaned.outcomes == ()


def test_pictures_in_a_tool_of_the_conversation_go(guard: ConversationGuard) -> None:
    picture = url(png(all_red()))
    worded = {**ANTHROPICS, "description": picture}
    items = {"type": "additional_tools", "role": "developer", "tools": [worded]}
    for body, dialect in (
        (ask(said("user", LOOK), said("system", definition(worded))), MESSAGES),
        (
            ask(said("user", LOOK), said("system", {**definition(ANTHROPICS), "x": picture})),
            MESSAGES,
        ),
        (respond(WORDS, items), RESPONSES),
    ):
        assert picture not in str(guard.clean(body, dialect).body)


def test_a_picture_beside_a_message_may_have_no_type(guard: ConversationGuard) -> None:
    picture = url(png(all_red()))
    body = chat({**said("user", LOOK), "images": [{"image_url": {"url": picture}}]})
    cleaned = guard.clean(body, CHAT)
    assert len(cleaned.outcomes) == 1
    assert picture not in str(cleaned.body)
