"""Every position of MCP's messages in which a picture can stand, by the protocol's own types.

The names of the types are those of the schemas of 2025-06-18 and 2025-11-25.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import mcp.types as t
from pydantic import BaseModel

Place = Callable[[bytes], dict[str, Any]]
"""A message with this picture file in it."""

WORDS = {"type": "text", "text": "Here."}


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def url(raw: bytes) -> str:
    return f"data:image/png;base64,{b64(raw)}"


def image(raw: bytes) -> dict[str, Any]:
    return {"type": "image", "data": b64(raw), "mimeType": "image/png"}


def blob(raw: bytes, **more: Any) -> dict[str, Any]:
    return {"uri": "file:///shot", "blob": b64(raw), **more}


def embedded(contents: dict[str, Any]) -> dict[str, Any]:
    return {"type": "resource", "resource": contents}


def page(raw: bytes) -> str:
    return f"<h1>Title</h1><img src='{url(raw)}'>"


def icons(raw: bytes) -> list[dict[str, Any]]:
    return [{"src": url(raw), "mimeType": "image/png", "sizes": ["64x64"]}]


def link(raw: bytes) -> dict[str, Any]:
    return {"type": "resource_link", "name": "a", "uri": "https://example.org/a.png"} | {
        "icons": icons(raw)
    }


def result(**fields: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "result": fields}


def tool(*content: Any, **more: Any) -> dict[str, Any]:
    return result(content=[*content], **more)


def prompt(content: Any) -> dict[str, Any]:
    return result(messages=[{"role": "user", "content": content}])


def asked(content: Any, role: str = "user", **more: Any) -> dict[str, Any]:
    params = {"messages": [{"role": role, "content": content}], "maxTokens": 9, **more}
    return {"jsonrpc": "2.0", "id": 8, "method": "sampling/createMessage", "params": params}


def notified(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": f"notifications/{method}", "params": params}


def tool_result(**fields: Any) -> dict[str, Any]:
    return {"type": "tool_result", "toolUseId": "u", **fields}


BLOCKS: dict[str, Callable[[bytes], Any]] = {
    "ImageContent": image,
    "EmbeddedResource, blob": lambda raw: embedded(blob(raw, mimeType="image/png")),
    "EmbeddedResource, blob of no type": lambda raw: embedded(blob(raw)),
    "EmbeddedResource, text": lambda raw: embedded({"uri": "file:///a.md", "text": page(raw)}),
    "EmbeddedResource, text as blob": lambda raw: embedded(
        blob(page(raw).encode(), mimeType="text/html")
    ),
    "TextContent, data URL": lambda raw: {"type": "text", "text": page(raw)},
    "TextContent, JSON": lambda raw: {"type": "text", "text": json.dumps({"thumb": b64(raw)})},
    "ResourceLink, data URL": lambda raw: {"type": "resource_link", "name": "a", "uri": url(raw)},
    "ResourceLink, icons": link,
}

IN_TOOLS: dict[str, Place] = {
    **{name: lambda raw, make=make: tool(WORDS, make(raw)) for name, make in BLOCKS.items()},
    "isError": lambda raw: tool({"type": "text", "text": page(raw)}, isError=True),
    "structuredContent, base64": lambda raw: tool(structuredContent={"thumb": b64(raw)}),
    "structuredContent, data URL": lambda raw: tool(structuredContent={"a": [{"b": url(raw)}]}),
    "structuredContent, text": lambda raw: tool(structuredContent={"page": page(raw)}),
    "structuredContent, block": lambda raw: tool(structuredContent={"result": image(raw)}),
    "structuredContent, resource": lambda raw: tool(
        structuredContent={"result": embedded(blob(raw, mimeType="image/png"))}
    ),
    "structuredContent, numbers": lambda raw: tool(structuredContent={"bytes": [*raw]}),
    "_meta": lambda raw: tool(WORDS, _meta={"example.org/shot": url(raw)}),
    "_meta of a block": lambda raw: tool({**WORDS, "_meta": {"example.org/shot": b64(raw)}}),
    "annotations of a block": lambda raw: tool({**WORDS, "annotations": {"shot": url(raw)}}),
}

IN_RESULTS: dict[str, tuple[type[BaseModel], Place]] = {
    **{f"CallToolResult: {name}": (t.CallToolResult, make) for name, make in IN_TOOLS.items()},
    **{
        f"GetPromptResult: {name}": (
            t.GetPromptResult,
            lambda raw, make=make: prompt(make(raw)),
        )
        for name, make in BLOCKS.items()
    },
    "GetPromptResult: description": (
        t.GetPromptResult,
        lambda raw: result(messages=[], description=page(raw)),
    ),
    "ReadResourceResult: blob": (
        t.ReadResourceResult,
        lambda raw: result(contents=[blob(raw, mimeType="image/png")]),
    ),
    "ReadResourceResult: blob of no type": (
        t.ReadResourceResult,
        lambda raw: result(contents=[{"uri": "file:///a", "text": "a"}, blob(raw)]),
    ),
    "ReadResourceResult: blob of bytes": (
        t.ReadResourceResult,
        lambda raw: result(contents=[blob(raw, mimeType="application/octet-stream")]),
    ),
    "ReadResourceResult: text": (
        t.ReadResourceResult,
        lambda raw: result(contents=[{"uri": "file:///a", "text": page(raw)}]),
    ),
    "ReadResourceResult: text as blob": (
        t.ReadResourceResult,
        lambda raw: result(contents=[blob(page(raw).encode(), mimeType="text/html")]),
    ),
    "ReadResourceResult: uri": (
        t.ReadResourceResult,
        lambda raw: result(contents=[{"uri": url(raw), "text": "a"}]),
    ),
    "InitializeResult: instructions": (
        t.InitializeResult,
        lambda raw: result(
            protocolVersion="2025-11-25",
            capabilities={},
            serverInfo={"name": "a", "version": "1", "icons": icons(raw)},
            instructions=page(raw),
        ),
    ),
    "ListToolsResult": (
        t.ListToolsResult,
        lambda raw: result(
            tools=[
                {
                    "name": "a",
                    "description": page(raw),
                    "inputSchema": {"type": "object", "default": {"b": b64(raw)}},
                    "icons": icons(raw),
                }
            ]
        ),
    ),
    "ListResourcesResult": (
        t.ListResourcesResult,
        lambda raw: result(
            resources=[{"name": "a", "uri": "file:///a", "description": page(raw)}]
            + [{"name": "b", "uri": url(raw), "icons": icons(raw)}]
        ),
    ),
    "ListResourceTemplatesResult": (
        t.ListResourceTemplatesResult,
        lambda raw: result(resourceTemplates=[{"name": "a", "uriTemplate": url(raw)}]),
    ),
    "ListPromptsResult": (
        t.ListPromptsResult,
        lambda raw: result(prompts=[{"name": "a", "description": page(raw), "icons": icons(raw)}]),
    ),
    "CompleteResult": (
        t.CompleteResult,
        lambda raw: result(completion={"values": [url(raw)]}),
    ),
    "GetTaskPayloadResult": (t.GetTaskPayloadResult, lambda raw: tool(image(raw))),
    "GetTaskResult: statusMessage": (
        t.GetTaskResult,
        lambda raw: result(
            taskId="a",
            status="working",
            statusMessage=page(raw),
            createdAt="2026-01-01T00:00:00Z",
            lastUpdatedAt="2026-01-01T00:00:00Z",
            ttl=None,
        ),
    ),
}

IN_REQUESTS: dict[str, Place] = {
    "CreateMessageRequest: ImageContent": lambda raw: asked(image(raw)),
    "CreateMessageRequest: list": lambda raw: asked([WORDS, image(raw)]),
    "CreateMessageRequest: text": lambda raw: asked({"type": "text", "text": page(raw)}),
    "CreateMessageRequest: tool_result": lambda raw: asked([tool_result(content=[image(raw)])]),
    "CreateMessageRequest: tool_result, resource": lambda raw: asked(
        [tool_result(content=[embedded(blob(raw, mimeType="image/png"))])]
    ),
    "CreateMessageRequest: tool_result, structured": lambda raw: asked(
        [tool_result(content=[], structuredContent={"a": b64(raw)})]
    ),
    "CreateMessageRequest: tool_use": lambda raw: asked(
        [{"type": "tool_use", "id": "u", "name": "a", "input": {"a": url(raw)}}], "assistant"
    ),
    "CreateMessageRequest: systemPrompt": lambda raw: asked(WORDS, systemPrompt=page(raw)),
    "CreateMessageRequest: metadata": lambda raw: asked(WORDS, metadata={"a": b64(raw)}),
    "CreateMessageRequest: tools": lambda raw: asked(
        WORDS, tools=[{"name": "a", "description": page(raw), "inputSchema": {"type": "object"}}]
    ),
    "ElicitRequest": lambda raw: {
        "jsonrpc": "2.0",
        "id": 8,
        "method": "elicitation/create",
        "params": {"message": page(raw), "requestedSchema": {"type": "object", "properties": {}}},
    },
}

IN_NOTIFICATIONS: dict[str, Place] = {
    "LoggingMessageNotification": lambda raw: notified("message", level="info", data=[b64(raw)]),
    "ProgressNotification": lambda raw: notified(
        "progress", progressToken=1, progress=0.5, message=page(raw)
    ),
    "CancelledNotification": lambda raw: notified("cancelled", requestId=1, reason=page(raw)),
}

ELSEWHERE: dict[str, Place] = {
    "error, message": lambda raw: {
        "jsonrpc": "2.0",
        "id": 7,
        "error": {"code": 1, "message": page(raw)},
    },
    "error, data": lambda raw: {
        "jsonrpc": "2.0",
        "id": 7,
        "error": {"code": 1, "message": "a", "data": {"shot": b64(raw)}},
    },
    "unknown result": lambda raw: result(shots=[{"png": b64(raw)}], shot=image(raw)),
    "unknown request": lambda raw: {
        "jsonrpc": "2.0",
        "id": 8,
        "method": "example/show",
        "params": {"shot": image(raw)},
    },
    "unknown field": lambda raw: {"jsonrpc": "2.0", "id": 7, "result": {}, "shot": url(raw)},
    "no object": lambda raw: {"jsonrpc": "2.0", "id": 7, "result": [image(raw)]},
}

FROM_CLIENTS: dict[str, Place] = {
    "CreateMessageResult: ImageContent": lambda raw: result(
        role="assistant", content=image(raw), model="m"
    ),
    "CreateMessageResult: text": lambda raw: result(
        role="assistant", content={"type": "text", "text": page(raw)}, model="m"
    ),
    "CreateMessageResult: list": lambda raw: result(
        role="assistant", content=[WORDS, image(raw)], model="m", stopReason="toolUse"
    ),
}

FROM_SERVERS: dict[str, Place] = {
    **{name: make for name, (_, make) in IN_RESULTS.items()},
    **IN_REQUESTS,
    **IN_NOTIFICATIONS,
    **ELSEWHERE,
}
