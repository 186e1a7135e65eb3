"""Every position of a request in which a picture can stand, in each dialect."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

from guardalign_middleware.conversation import CHAT, MESSAGES, RESPONSES, Dialect
from guardalign_middleware.intake.hidden_images import hidden_images, replace_hidden
from guardalign_middleware.testing import open_png
from guardalign_middleware.types import CanonicalImage

Place = Callable[[bytes], dict[str, Any]]
"""A request with this picture file in it."""

LOOK = {"type": "text", "text": "Look."}
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "shoot", "arguments": '{"x": 1}'},
}


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def url(raw: bytes) -> str:
    return f"data:image/png;base64,{b64(raw)}"


def chat(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [*messages], **more}


def said(role: str, *parts: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": [*parts], **more}


def link(raw: bytes) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url(raw), "detail": "low"}}


def answered(part: Any) -> dict[str, Any]:
    """A tool's answer, which the model has not seen yet."""
    return chat(
        said("user", LOOK),
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": part},
    )


def in_chat() -> dict[str, Place]:
    return {
        "user": lambda raw: chat(said("user", LOOK, link(raw))),
        "user, image only": lambda raw: chat(said("user", link(raw))),
        "user, url as a string": lambda raw: chat(
            said("user", {"type": "image_url", "image_url": url(raw)})
        ),
        "system": lambda raw: chat(said("system", link(raw)), said("user", LOOK)),
        "developer": lambda raw: chat(said("developer", link(raw)), said("user", LOOK)),
        "assistant": lambda raw: chat(
            said("user", LOOK), said("assistant", link(raw)), said("user", LOOK)
        ),
        "older user": lambda raw: chat(
            said("user", link(raw)), said("assistant", LOOK), said("user", LOOK)
        ),
        "tool": lambda raw: answered([link(raw)]),
        "function": lambda raw: chat(
            said("user", LOOK), said("function", link(raw), name="shoot"), said("user", LOOK)
        ),
        "file": lambda raw: chat(
            said(
                "user",
                {"type": "file", "file": {"filename": "a.png", "file_data": url(raw)}},
            )
        ),
        "words of a user": lambda raw: chat({"role": "user", "content": f"See ![]({url(raw)})."}),
        "words of a tool": lambda raw: answered(f"data='{b64(raw)}'"),
        "words of an assistant": lambda raw: chat(
            said("user", LOOK),
            {"role": "assistant", "content": url(raw)},
            said("user", LOOK),
        ),
        "JSON of a tool": lambda raw: answered(json.dumps({"image": {"data": b64(raw)}})),
        "content as one block": lambda raw: chat({"role": "user", "content": link(raw)}),
        "a list in a list": lambda raw: chat(said("user", [[link(raw)]])),
        "Ollama's images": lambda raw: chat({"role": "user", "content": "?", "images": [b64(raw)]}),
        "prediction": lambda raw: chat(
            said("user", LOOK), prediction={"type": "content", "content": [link(raw)]}
        ),
        "Anthropic's block": lambda raw: chat(said("user", block(raw))),
        "Anthropic's tool result": lambda raw: chat(said("user", result([block(raw)]))),
        "arguments of a call": lambda raw: chat(
            said("user", LOOK),
            {
                "role": "assistant",
                "tool_calls": [{**CALL, "function": {"name": "f", "arguments": url(raw)}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "ok"},
        ),
    }


def respond(*items: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "input": [*items], **more}


def shot(raw: bytes) -> dict[str, Any]:
    return {"type": "input_image", "image_url": url(raw), "detail": "auto"}


WORDS = {"role": "user", "content": [{"type": "input_text", "text": "Look."}]}


def in_responses() -> dict[str, Place]:
    def output(kind: str, value: Any) -> dict[str, Any]:
        return respond(WORDS, {"type": kind, "call_id": "c1", "output": value})

    return {
        "user": lambda raw: respond(said("user", shot(raw))),
        "user, with a type": lambda raw: respond(said("user", shot(raw), type="message")),
        "system": lambda raw: respond(said("system", shot(raw)), WORDS),
        "assistant": lambda raw: respond(WORDS, said("assistant", shot(raw)), WORDS),
        "older user": lambda raw: respond(
            said("user", shot(raw)), {"role": "assistant", "content": "A thing."}, WORDS
        ),
        "function output": lambda raw: output("function_call_output", [shot(raw)]),
        "function output, in words": lambda raw: output("function_call_output", url(raw)),
        "custom tool output": lambda raw: output("custom_tool_call_output", [shot(raw)]),
        "computer": lambda raw: output(
            "computer_call_output", {"type": "computer_screenshot", "image_url": url(raw)}
        ),
        "drawn": lambda raw: respond(
            WORDS, {"type": "image_generation_call", "id": "ig_1", "result": b64(raw)}, WORDS
        ),
        "code interpreter": lambda raw: respond(
            WORDS,
            {
                "type": "code_interpreter_call",
                "id": "ci_1",
                "code": "",
                "outputs": [{"type": "image", "url": url(raw)}],
            },
            WORDS,
        ),
        "mcp call": lambda raw: respond(
            WORDS,
            {"type": "mcp_call", "id": "m", "output": json.dumps([{"data": b64(raw)}])},
            WORDS,
        ),
        "file": lambda raw: respond(
            said("user", {"type": "input_file", "filename": "a.png", "file_data": url(raw)})
        ),
        "input in words": lambda raw: {"model": "m", "input": f"See {url(raw)}"},
        "instructions in words": lambda raw: respond(WORDS, instructions=f"See {url(raw)}"),
        "chat's block": lambda raw: respond(said("user", link(raw))),
        "mask of an image tool": lambda raw: respond(
            WORDS,
            tools=[{"type": "image_generation", "input_image_mask": {"image_url": url(raw)}}],
        ),
    }


def ask(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 8, "messages": [*messages], **more}


def block(raw: bytes) -> dict[str, Any]:
    return {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": b64(raw)},
        "cache_control": {"type": "ephemeral"},
    }


def result(content: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "t1", "content": content}


def document(content: Any) -> dict[str, Any]:
    return {"type": "document", "source": {"type": "content", "content": content}, "title": "A"}


def in_messages() -> dict[str, Place]:
    use = {"type": "tool_use", "id": "t1", "name": "shoot", "input": {}}

    def after(kind: str, content: Any) -> dict[str, Any]:
        answer = {"type": kind, "tool_use_id": "s1", "content": content}
        return ask(said("user", LOOK), said("assistant", answer), said("user", LOOK))

    return {
        "user": lambda raw: ask(said("user", LOOK, block(raw))),
        "system": lambda raw: ask(said("user", LOOK), system=[block(raw)]),
        "system in words": lambda raw: ask(said("user", LOOK), system=f"See {url(raw)}"),
        "assistant": lambda raw: ask(
            said("user", LOOK), said("assistant", block(raw)), said("user", LOOK)
        ),
        "older user": lambda raw: ask(
            said("user", block(raw)), said("assistant", LOOK), said("user", LOOK)
        ),
        "tool result": lambda raw: ask(
            said("user", LOOK), said("assistant", use), said("user", result([LOOK, block(raw)]))
        ),
        "tool result as one block": lambda raw: ask(
            said("user", LOOK), said("assistant", use), said("user", result(block(raw)))
        ),
        "tool result in words": lambda raw: ask(
            said("user", LOOK), said("assistant", use), said("user", result(url(raw)))
        ),
        "document": lambda raw: ask(said("user", document([LOOK, block(raw)]))),
        "document in a tool result": lambda raw: ask(
            said("user", LOOK),
            said("assistant", use),
            said("user", result([document([block(raw)])])),
        ),
        "document in words": lambda raw: ask(
            said(
                "user",
                {
                    "type": "document",
                    "source": {
                        "type": "text",
                        "media_type": "text/plain",
                        "data": f"See {url(raw)}",
                    },
                },
            )
        ),
        "search result": lambda raw: ask(
            said(
                "user",
                {
                    "type": "search_result",
                    "source": "x",
                    "title": "y",
                    "content": [{"type": "text", "text": url(raw)}],
                },
            )
        ),
        "mcp result": lambda raw: after("mcp_tool_result", [block(raw)]),
        "code result": lambda raw: after(
            "code_execution_tool_result",
            {"type": "code_execution_result", "stdout": b64(raw), "content": []},
        ),
        "chat's block": lambda raw: ask(said("user", link(raw))),
        "data url as address": lambda raw: ask(
            said("user", {"type": "image", "source": {"type": "url", "url": url(raw)}})
        ),
        "input of a call": lambda raw: ask(
            said("user", LOOK),
            said("assistant", {**use, "input": {"html": f"<img src='{url(raw)}'>"}}),
            said("user", result("ok")),
        ),
    }


POSITIONS: list[tuple[Dialect, str, Place]] = [
    (dialect, name, place)
    for dialect, places in (
        (CHAT, in_chat()),
        (RESPONSES, in_responses()),
        (MESSAGES, in_messages()),
    )
    for name, place in places.items()
]
IDS = [f"{dialect.name}: {name}" for dialect, name, _ in POSITIONS]


def shown(value: Any) -> Iterator[CanonicalImage]:
    """Every picture in a request."""
    if isinstance(value, str):
        for image in hidden_images(value):
            yield open_png(image.data)
    elif isinstance(value, dict):
        for item in value.values():
            yield from shown(item)
    elif isinstance(value, list):
        for item in value:
            yield from shown(item)


def without_pictures(value: Any) -> Any:
    """A request with a mark in the place of each picture."""
    if isinstance(value, str):
        return replace_hidden(value, lambda _: "[picture]")
    if isinstance(value, dict):
        return {key: without_pictures(item) for key, item in value.items()}
    return [without_pictures(item) for item in value] if isinstance(value, list) else value
