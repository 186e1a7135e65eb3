"""Requests to a gateway with a picture in each place, in the three dialects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.gateways.sent_pictures import b64, url

Place = Callable[[bytes], dict[str, Any]]
LOOK = {"type": "text", "text": "Look."}
TOOL = {"type": "object", "properties": {}}


def _chat(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "gpt", "messages": [*messages], **more}


def _respond(*items: Any, **more: Any) -> dict[str, Any]:
    return {"model": "gpt", "input": [*items], **more}


def _ask(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "claude", "max_tokens": 8, "messages": [*messages], **more}


def link(raw: bytes) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url(raw)}}


def shot(raw: bytes) -> dict[str, Any]:
    return {"type": "input_image", "image_url": url(raw), "detail": "auto"}


def block(raw: bytes) -> dict[str, Any]:
    source = {"type": "base64", "media_type": "image/png", "data": b64(raw)}
    return {"type": "image", "source": source}


def said(role: str, *parts: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": [*parts], **more}


def _tool_in_chat(raw: bytes) -> dict[str, Any]:
    call = {"id": "c1", "type": "function", "function": {"name": "shoot", "arguments": "{}"}}
    return _chat(
        said("user", LOOK),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        said("tool", link(raw), tool_call_id="c1"),
    )


def _tool_in_responses(raw: bytes) -> dict[str, Any]:
    return _respond(
        {"role": "user", "content": "Look."},
        {"type": "function_call", "call_id": "c1", "name": "shoot", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [shot(raw)]},
    )


def _tool_in_messages(raw: bytes) -> dict[str, Any]:
    return _ask(
        said("user", LOOK),
        said("assistant", {"type": "tool_use", "id": "t1", "name": "shoot", "input": {}}),
        said("user", {"type": "tool_result", "tool_use_id": "t1", "content": [block(raw)]}),
        tools=[{"name": "shoot", "input_schema": TOOL}],
    )


PLACES: dict[str, dict[str, Place]] = {
    "chat": {
        "user": lambda raw: _chat(said("user", LOOK, link(raw))),
        "user, picture only": lambda raw: _chat(said("user", link(raw))),
        "system": lambda raw: _chat(said("system", LOOK, link(raw)), said("user", LOOK)),
        "older turn": lambda raw: _chat(
            said("user", link(raw)), said("assistant", LOOK), said("user", LOOK)
        ),
        "tool result": _tool_in_chat,
        "words": lambda raw: _chat({"role": "user", "content": f"See {url(raw)} there."}),
        "file": lambda raw: _chat(
            said("user", {"type": "file", "file": {"filename": "a.png", "file_data": url(raw)}})
        ),
    },
    "responses": {
        "user": lambda raw: _respond(said("user", {"type": "input_text", "text": "?"}, shot(raw))),
        "user, picture only": lambda raw: _respond(said("user", shot(raw))),
        "older turn": lambda raw: _respond(
            said("user", shot(raw)),
            {"role": "assistant", "content": "A thing."},
            {"role": "user", "content": "Look."},
        ),
        "tool result": _tool_in_responses,
        "words": lambda raw: {"model": "gpt", "input": f"See {url(raw)} there."},
    },
    "messages": {
        "user": lambda raw: _ask(said("user", LOOK, block(raw))),
        "user, picture only": lambda raw: _ask(said("user", block(raw))),
        "older turn": lambda raw: _ask(
            said("user", block(raw)), said("assistant", LOOK), said("user", LOOK)
        ),
        "tool result": _tool_in_messages,
        "words": lambda raw: _ask({"role": "user", "content": f"See {url(raw)} there."}),
    },
}
# At LiteLLM, a service of one dialect can also be asked in another.
PLACES["messages, answered by OpenAI"] = {
    name: lambda raw, place=place: {**place(raw), "model": "gpt"}  # type: ignore[misc]
    for name, place in PLACES["messages"].items()
}
EVERY = [(dialect, name) for dialect, places in PLACES.items() for name in places]
