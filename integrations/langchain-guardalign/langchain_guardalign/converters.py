"""LangChain messages to GuardAlign's role/content mappings; pure, no model and no image decoding.

Every known way of writing an image becomes one part that the core takes in itself, so that the
bytes are resolved once. A block that is not known raises: it could carry an image past the guard.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from guardalign_middleware.errors import ImageRejected, MessageError

Part = dict[str, Any]

_ROLES: tuple[tuple[type[BaseMessage], str], ...] = (
    (HumanMessage, "user"),
    (AIMessage, "assistant"),
    (SystemMessage, "system"),
    (ToolMessage, "tool"),
    (FunctionMessage, "tool"),
)
_SPOKEN_ROLES = {
    "human": "user",
    "user": "user",
    "ai": "assistant",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
}
# A model's own notes to itself, and calls that `AIMessage.tool_calls` repeats: never shown again.
_DROPPED = {
    "reasoning",
    "redacted_thinking",
    "thinking",
    "tool_call",
    "tool_call_chunk",
    "tool_use",
}
_REMEDY = "Give the image as base64 or as a data URL."


def to_role_content(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Turn LangChain messages into what `GuardAlign.invoke` takes; the messages are not changed.

    Raises:
        MessageError: a role or a content block that is not known; the message names the place.
        ImageRejected: an image behind a file id.
    """
    return [
        {"role": _role(message, index), "content": _content(message, f"messages[{index}].content")}
        for index, message in enumerate(messages)
    ]


def _role(message: BaseMessage, index: int) -> str:
    if isinstance(message, ChatMessage) and message.role.lower() in _SPOKEN_ROLES:
        return _SPOKEN_ROLES[message.role.lower()]
    for kind, role in _ROLES:
        if isinstance(message, kind):
            return role
    raise MessageError(
        f"messages[{index}] is a {type(message).__name__}, which has no place in a conversation."
    )


def _content(message: BaseMessage, place: str) -> list[Part]:
    parts = _parts(message.content, place)
    if isinstance(message, AIMessage):
        # The model has no tool syntax of its own; what was called is still part of the history.
        parts += [
            {"type": "text", "text": f"[called {call['name']} with {json.dumps(call['args'])}]"}
            for call in message.tool_calls
        ]
    return parts or [{"type": "text", "text": ""}]


def _parts(content: object, place: str) -> list[Part]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if isinstance(content, Mapping):
        return _block(content, place)
    if isinstance(content, Sequence) and not isinstance(content, bytes | bytearray):
        return [
            part for index, item in enumerate(content) for part in _parts(item, f"{place}[{index}]")
        ]
    raise MessageError(f"{place} is a {type(content).__name__}.")


def _block(block: Mapping[str, Any], place: str) -> list[Part]:
    kind = block.get("type")
    if kind in _DROPPED:
        return []
    if kind in {"text", "text-plain"} and isinstance(block.get("text"), str):
        return [{"type": "text", "text": block["text"]}]
    if kind == "tool_result":
        return _parts(block.get("content", ""), f"{place}.content")
    if kind in {"image_url", "input_image"}:
        link = block.get("image_url")
        link = link.get("url") if isinstance(link, Mapping) else link
        return [_from_url(link, block, place)]
    if kind in {"image", None} and isinstance(block.get("image"), Mapping):
        return [_from_bedrock(block["image"], place)]
    if kind == "image":
        return [_from_image(block, place)]
    if kind == "media" and _is_image(block.get("mime_type")):
        return [_from_fields(block, place, data="data", mime="mime_type", url="file_uri")]
    if kind == "file" and isinstance(block.get("file"), Mapping):
        return [_from_openai_file(block["file"], place)]
    if kind == "file" and _is_image(block.get("mime_type")):
        return [_from_image(block, place)]
    if kind == "non_standard" and isinstance(block.get("value"), Mapping):
        return _block(block["value"], f"{place}.value")
    found = f"the unknown type {kind!r}" if isinstance(kind, str) else "no known type"
    raise MessageError(
        f"{place} has {found}.", remedy="Only text and images can be shown to this model."
    )


def _from_image(block: Mapping[str, Any], place: str) -> Part:
    """`image` blocks of LangChain v1 and v0, Anthropic, MCP and transformers."""
    source = block.get("source")
    if isinstance(source, Mapping):
        return _from_fields(source, place, data="data", mime="media_type", url="url")
    if block.get("base64") is not None:
        return _from_fields(block, place, data="base64", mime="mime_type", url="url")
    if block.get("data") is not None:
        mime = "mimeType" if "mimeType" in block else "mime_type"
        return _from_fields(block, place, data="data", mime=mime, url="url")
    if block.get("url") is not None:
        return _from_url(block["url"], block, place)
    for key in ("image", "path"):
        if block.get(key) is not None:
            return {"type": "image", key: block[key]}
    raise _no_bytes(block, place)


def _from_fields(block: Mapping[str, Any], place: str, *, data: str, mime: str, url: str) -> Part:
    if block.get(data) is not None and block.get(url) is not None:
        raise MessageError(
            f"{place} has both {data!r} and {url!r}, which could be two different images.",
            remedy=_REMEDY,
        )
    if isinstance(block.get(data), bytes):
        return {"type": "image", "image": block[data]}
    if block.get(data) is not None:
        return {"type": "image", "base64": block[data], "mime_type": block.get(mime)}
    if block.get(url) is not None:
        return _from_url(block[url], block, place)
    raise _no_bytes(block, place)


def _from_url(link: object, block: Mapping[str, Any], place: str) -> Part:
    """The core reads data URLs and refuses what needs a network or a disk."""
    if not isinstance(link, str):
        raise _no_bytes(block, place)
    return {"type": "image_url", "image_url": {"url": link}}


def _from_bedrock(image: Mapping[str, Any], place: str) -> Part:
    source = image.get("source")
    payload = source.get("bytes") if isinstance(source, Mapping) else None
    if not isinstance(payload, bytes):
        raise _no_bytes(image, place)
    return {"type": "image", "image": payload}


def _from_openai_file(file: Mapping[str, Any], place: str) -> Part:
    data = file.get("file_data")
    if isinstance(data, str) and data.lower().startswith("data:image/"):
        return _from_url(data, file, place)
    raise _no_bytes(file, place)


def _no_bytes(block: Mapping[str, Any], place: str) -> ImageRejected:
    given = ", ".join(sorted(str(key) for key in block)) or "nothing"
    return ImageRejected(
        f"{place} gives no image bytes (it has {given}).",
        reason="unsupported_type",
        source=place,
        remedy=_REMEDY,
    )


def _is_image(mime_type: object) -> bool:
    return isinstance(mime_type, str) and mime_type.lower().startswith("image/")
