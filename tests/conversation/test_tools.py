"""Tools pass by their shape: a client's own, and those of a service that show no pictures."""

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
from tests.conversation.offered import CACHED, FLAT, FUNCTION, MCP, SCHEMA, Tool
from tests.conversation.positions import LOOK, WORDS, ask, chat, respond, said, url


@pytest.fixture(scope="module")
def guard() -> ConversationGuard:
    return ConversationGuard(red_guard())


def request(dialect: Dialect, **more: Any) -> dict[str, Any]:
    ways = {"chat": chat(said("user", LOOK)), "responses": respond(WORDS)}
    return {**ways.get(dialect.name, ask(said("user", LOOK))), **more}


UNSEEN: dict[str, tuple[Dialect, Any]] = {
    "Gemini fetches": (CHAT, {"urlContext": {}}),
    "Gemini fetches, in its other spelling": (CHAT, {"url_context": {}}),
    "Gemini searches": (CHAT, {"googleSearch": {}}),
    "Gemini runs code": (CHAT, {"codeExecution": {}}),
    "Gemini's files": (CHAT, {"fileSearch": {"fileSearchStoreNames": ["a"]}}),
    "no type": (CHAT, {"type": None, "url_context": {}}),
    "a wrong type": (CHAT, {"type": "function", "url_context": {}}),
    "beside a function": (CHAT, {**FUNCTION, "url_context": {}}),
    "beside Anthropic's": (MESSAGES, {"name": "f", "input_schema": {}, "url_context": {}}),
    "a list of types": (CHAT, {"type": ["mcp"], "server_url": "x"}),
    "a mapping of types": (RESPONSES, {"type": {"mcp": {}}, "name": "f"}),
    "nothing": (CHAT, {}),
    "a word": (CHAT, "url_context"),
    "capitals": (CHAT, {**FUNCTION, "Type": "mcp"}),
    "a fetching tool with a date": (MESSAGES, {"type": "web_fetch_20260318", "name": "web_fetch"}),
    "code with a date": (MESSAGES, {"type": "code_execution_20260521", "name": "x"}),
    "another model": (MESSAGES, {"type": "advisor_20260301", "name": "advisor", "model": "m"}),
    "remote servers' tools": (MESSAGES, {"type": "mcp_toolset", "mcp_server_name": "x"}),
    "a date in the middle": (MESSAGES, {"type": "web_20260318_search", "name": "x"}),
    "a shell at the service": (
        RESPONSES,
        {"type": "shell", "environment": {"type": "container_auto", "file_ids": ["file-abcdefgh"]}},
    ),
    "a shell in a container": (
        RESPONSES,
        {"type": "shell", "environment": {"type": "container_reference", "container_id": "c"}},
    ),
    "a local shell with files": (
        RESPONSES,
        {"type": "shell", "environment": {"type": "local", "file_ids": ["file-abcdefgh"]}},
    ),
    "a shell without a word": (RESPONSES, {"type": "shell", "environment": {}}),
    "pictures of the web": (
        RESPONSES,
        {"type": "web_search", "search_content_types": ["text", "image"]},
    ),
    "pictures of the web, preview": (
        RESPONSES,
        {"type": "web_search_preview", "search_content_types": ["image"]},
    ),
    "pictures at xAI": (RESPONSES, {"type": "web_search", "enable_image_understanding": True}),
    "in a namespace": (RESPONSES, {"type": "namespace", "name": "n", "tools": [FLAT, MCP]}),
    "deep in namespaces": (
        RESPONSES,
        {"type": "namespace", "name": "n", "tools": [{"type": "namespace", "tools": [MCP]}]},
    ),
    "a namespace of no list": (RESPONSES, {"type": "namespace", "name": "n", "tools": {"0": MCP}}),
}


@pytest.mark.parametrize(("dialect", "offered"), UNSEEN.values(), ids=UNSEEN)
def test_what_the_service_would_show_a_model(
    guard: ConversationGuard, dialect: Dialect, offered: Any
) -> None:
    with pytest.raises(MessageError, match=r"^tools\[0\]") as caught:
        guard.clean(request(dialect, tools=[offered]), dialect)
    assert caught.value.remedy
    # If the operator lets all of it through, it is reported.
    lenient = ConversationGuard(red_guard(), Handling(allow_unscanned=True))
    body = request(dialect, tools=[offered])
    cleaned = lenient.clean(body, dialect)
    assert cleaned.body == body
    assert cleaned.to_json()["unscanned"]


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES, MESSAGES], ids=lambda each: each.name)
@pytest.mark.parametrize("field", ["tools", "functions", "Tools"])
@pytest.mark.parametrize("offered", [{"0": {"url_context": {}}}, "url_context", [["x"]]])
def test_tools_that_are_no_list_of_definitions(
    guard: ConversationGuard, dialect: Dialect, field: str, offered: Any
) -> None:
    with pytest.raises(MessageError, match=field):
        guard.clean(request(dialect, **{field: offered}), dialect)


def test_the_older_name_for_tools(guard: ConversationGuard) -> None:
    # LiteLLM hands both to Gemini.
    with pytest.raises(MessageError, match="url_context"):
        guard.clean(request(CHAT, functions=[{"url_context": {}}]), CHAT)


def test_only_the_tool_is_left_out_where_notices_are_wanted() -> None:
    guard = ConversationGuard(red_guard(), Handling(on_refused="notice"))
    namespace = {"type": "namespace", "name": "n", "description": "d", "tools": [FLAT, MCP]}
    body = request(RESPONSES, tools=[MCP, FLAT, namespace])
    assert guard.clean(body, RESPONSES).body["tools"] == [FLAT, {**namespace, "tools": [FLAT]}]


def test_pictures_in_the_words_of_a_tool_go_even_if_it_may_pass() -> None:
    guard = ConversationGuard(red_guard(), Handling(allow_unscanned=True))
    picture = url(png(all_red()))
    inner = {**FLAT, "description": picture}
    for offered in (
        {"url_context": {"a": picture}},
        {**MCP, "server_description": picture},
        {"type": "namespace", "name": "n", "tools": [inner]},
    ):
        cleaned = guard.clean(request(RESPONSES, tools=[offered]), RESPONSES)
        assert picture not in str(cleaned.body)


FORMAT = {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}
HARMLESS: dict[str, tuple[Dialect, Tool]] = {
    "function": (CHAT, {**FUNCTION, **CACHED}),
    "strict function": (
        CHAT,
        {"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}},
    ),
    "function without a type": (CHAT, {"function": {"name": "f"}}),
    "function of Responses in chat": (CHAT, {**FLAT, "strict": True}),
    "Anthropic's in chat": (CHAT, {"name": "f", "input_schema": SCHEMA, **CACHED}),
    "custom": (CHAT, {"type": "custom", "custom": {"name": "f", "format": {"type": "text"}}}),
    "what is not set": (CHAT, {**FUNCTION, "url_context": None, "code_execution": False}),
    "function of Responses": (
        RESPONSES,
        {
            **FLAT,
            "strict": None,
            "description": "d",
            "output_schema": SCHEMA,
            "allowed_callers": ["direct"],
            "defer_loading": True,
            "async": True,
        },
    ),
    "custom of Responses": (RESPONSES, {"type": "custom", "name": "f", "format": FORMAT}),
    "namespace": (
        RESPONSES,
        {
            "type": "namespace",
            "name": "n",
            "description": "d",
            "tools": [{**FLAT, "defer_loading": True}, {"type": "custom", "name": "g"}],
        },
    ),
    "search": (
        RESPONSES,
        {
            "type": "web_search_2025_08_26",
            "filters": {"allowed_domains": ["example.org"]},
            "user_location": {"type": "approximate", "country": "DE"},
            "search_context_size": "low",
            "search_content_types": ["text"],
            "external_web_access": False,
        },
    ),
    "search preview": (RESPONSES, {"type": "web_search_preview_2025_03_11"}),
    "file search": (
        RESPONSES,
        {"type": "file_search", "vector_store_ids": ["vs_1"], "max_num_results": 3},
    ),
    "computer": (RESPONSES, {"type": "computer"}),
    "computer preview": (
        RESPONSES,
        {
            "type": "computer_use_preview",
            "display_width": 1024,
            "display_height": 768,
            "environment": "browser",
        },
    ),
    "shell": (RESPONSES, {"type": "shell"}),
    "local shell": (
        RESPONSES,
        {
            "type": "shell",
            "environment": {
                "type": "local",
                "skills": [{"name": "a", "description": "b", "path": "/c"}],
            },
        },
    ),
    "Codex's shell": (RESPONSES, {"type": "local_shell"}),
    "patches": (RESPONSES, {"type": "apply_patch"}),
    "drawing": (
        RESPONSES,
        {"type": "image_generation", "partial_images": 1, "size": "auto", "model": "gpt-image-2"},
    ),
    "tool search": (
        RESPONSES,
        {"type": "tool_search", "execution": "client", "parameters": SCHEMA},
    ),
    "Anthropic's": (
        MESSAGES,
        {
            "type": "custom",
            "name": "f",
            "input_schema": SCHEMA,
            "input_examples": [{"image_url": "x"}],
            "eager_input_streaming": True,
            **CACHED,
        },
    ),
    "bash": (MESSAGES, {"type": "bash_20250124", "name": "bash", **CACHED}),
    "editor": (
        MESSAGES,
        {"type": "text_editor_20250728", "name": "x", "max_characters": 100},
    ),
    "Anthropic's computer": (
        MESSAGES,
        {
            "type": "computer_20251124",
            "name": "computer",
            "display_width_px": 1024,
            "display_height_px": 768,
            "display_number": 1,
            "enable_zoom": True,
        },
    ),
    "computer toolset": (
        MESSAGES,
        {"type": "computer_toolset_20260801", "configs": {"zoom": {"enabled": True}}},
    ),
    "memory": (MESSAGES, {"type": "memory_20250818", "name": "memory"}),
    "Anthropic's search": (
        MESSAGES,
        {
            "type": "web_search_20260318",
            "name": "web_search",
            "max_uses": 3,
            "allowed_domains": ["example.org"],
            "user_location": {"type": "approximate", "city": "Bonn"},
            "response_inclusion": "full",
        },
    ),
    "Anthropic's tool search": (
        MESSAGES,
        {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"},
    ),
}


@pytest.mark.parametrize(("dialect", "offered"), HARMLESS.values(), ids=HARMLESS)
def test_a_tool_that_shows_no_picture_passes(
    guard: ConversationGuard, dialect: Dialect, offered: Tool
) -> None:
    body = request(dialect, tools=[offered], parallel_tool_calls=False, tool_choice="auto")
    cleaned = guard.clean(body, dialect)
    assert cleaned.body is body
    assert cleaned.outcomes == ()


SEARCHES: dict[str, dict[str, Any]] = {
    "another type": {"type": "mcp", "server_label": "x"},
    "pictures": {"search_content_types": ["image"]},
    "pictures at xAI": {"enable_image_understanding": True},
}


@pytest.mark.parametrize("options", SEARCHES.values(), ids=SEARCHES)
def test_options_of_a_search_of_which_a_gateway_makes_a_tool(
    guard: ConversationGuard, options: dict[str, Any]
) -> None:
    with pytest.raises(MessageError, match="web_search_options"):
        guard.clean(request(CHAT, web_search_options=options), CHAT)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "search_context_size": "low",
            "user_location": {"type": "approximate", "approximate": {"country": "DE"}},
        },
        {"search_type": "pro", "image_results_enhanced_relevance": True},
    ],
)
def test_a_search_in_words_passes(guard: ConversationGuard, options: dict[str, Any]) -> None:
    body = request(CHAT, web_search_options=options)
    assert guard.clean(body, CHAT).body is body


@pytest.mark.parametrize("none", [None, []])
@pytest.mark.parametrize("dialect", [CHAT, RESPONSES, MESSAGES], ids=lambda each: each.name)
def test_no_tools_pass(guard: ConversationGuard, dialect: Dialect, none: Any) -> None:
    body = request(dialect, tools=none)
    assert guard.clean(body, dialect).body is body


def test_the_older_name_for_functions_passes(guard: ConversationGuard) -> None:
    older = [{"name": "f", "description": "d", "parameters": SCHEMA}]
    body = request(CHAT, functions=older, function_call="auto")
    assert guard.clean(body, CHAT).body is body
