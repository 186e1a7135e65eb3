"""A picture is found wherever it is planted: every value of a request, and every new key."""

import copy
import json
from collections.abc import Iterator
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
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.testing import has_red, picture, png, red_guard
from guardalign_middleware.testing.dialects import blocks_of
from tests.conversation.positions import (
    CALL,
    LOOK,
    WORDS,
    ask,
    b64,
    block,
    chat,
    document,
    link,
    respond,
    result,
    said,
    shot,
    shown,
    url,
)

UNSAFE, SAFE = png(picture(red=True)), png(picture())
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}

REQUESTS: list[tuple[Dialect, dict[str, Any]]] = [
    (
        CHAT,
        chat(
            said("system", LOOK),
            said("user", LOOK, link(SAFE)),
            {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "x"},
            {"role": "tool", "tool_call_id": "c1", "content": [LOOK]},
            said("user", {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}),
            tools=[TOOL],
            metadata={"a": "b"},
            stream_options={"include_usage": True},
            prediction={"type": "content", "content": "x"},
        ),
    ),
    (
        RESPONSES,
        respond(
            WORDS,
            said("user", shot(SAFE)),
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "x"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": [shot(SAFE)]},
            {"type": "web_search_call", "id": "ws", "action": {"type": "search", "query": "x"}},
            {"type": "mcp_call", "id": "m", "name": "f", "arguments": "{}", "output": "x"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "x"}]},
            instructions="x",
            tools=[{"type": "web_search"}, {"type": "function", "name": "f", "parameters": {}}],
            text={"format": {"type": "text"}},
        ),
    ),
    (
        MESSAGES,
        ask(
            said("user", LOOK, block(SAFE), document([LOOK])),
            said(
                "assistant",
                {"type": "thinking", "thinking": "x", "signature": "y"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": ["b"]}},
            ),
            said("user", result([LOOK, block(SAFE)])),
            system=[LOOK],
            tools=[{"name": "f", "input_schema": {"type": "object", "properties": {}}}],
            thinking={"type": "enabled", "budget_tokens": 1024},
        ),
    ),
]
FORMS: dict[str, Any] = {
    "data url": url(UNSAFE),
    "base64": b64(UNSAFE),
    "words": f"See ![]({url(UNSAFE)}).",
    "JSON": json.dumps({"image": {"data": b64(UNSAFE)}}),
    **{name: blocks_of(UNSAFE, "image/png")[name] for name in ("openai", "anthropic", "mcp")},
}
KEYS = ("x", "content", "Content", "image_url", "source", "data", "output", "images", "text")


def planted(value: Any, form: Any) -> Iterator[Any]:
    """Copies of a request with the picture in one place more, or in the place of something."""
    if isinstance(value, dict):
        for key in (*value, *(each for each in KEYS if each not in value)):
            yield {**value, key: form}
            if key in value:
                yield from ({**value, key: inner} for inner in planted(value[key], form))
    elif isinstance(value, list):
        yield [*value, form]
        for index, item in enumerate(value):
            for inner in (form, *planted(item, form)):
                yield [*value[:index], inner, *value[index + 1 :]]


@pytest.fixture(scope="module")
def guard() -> ConversationGuard:
    return ConversationGuard(red_guard(), Handling(on_refused="notice"))


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(("dialect", "request_"), REQUESTS, ids=["chat", "responses", "messages"])
def test_a_planted_picture(
    guard: ConversationGuard, dialect: Dialect, request_: dict[str, Any], name: str
) -> None:
    for body in planted(request_, FORMS[name]):
        before = copy.deepcopy(body)
        try:
            cleaned = guard.clean(body, dialect).body
        except (ImageRejected, MessageError):
            continue
        assert body == before
        text = json.dumps(cleaned)
        assert b64(UNSAFE) not in text, before
        assert not any(map(has_red, shown(cleaned))), before
