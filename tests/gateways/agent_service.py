"""A service of OpenAI's chat completions and responses that calls the tools it is given once."""

from __future__ import annotations

import json
from typing import Any

import httpx

CALL = {"name": "shoot", "arguments": "{}"}


class Service:
    """Answers requests, and keeps their bodies.

    Attributes:
        bodies: of all requests, in order.
    """

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        calls = bool(body.get("tools")) and not _has_results(body)
        made = _response(calls) if request.url.path.endswith("responses") else _completion(calls)
        if not body.get("stream"):
            return httpx.Response(200, json=made)
        pieces = _events(made, calls) if "output" in made else _chunks(made)
        headers = {"content-type": "text/event-stream"}
        return httpx.Response(200, content="".join(pieces).encode(), headers=headers)

    def client(self) -> httpx.AsyncClient:
        """A client that asks this service and nothing else."""
        return httpx.AsyncClient(transport=httpx.MockTransport(self))


def _has_results(body: dict[str, Any]) -> bool:
    turns = body.get("messages") or body.get("input") or []
    return any(
        turn.get("role") == "tool" or turn.get("type") == "function_call_output"
        for turn in turns
        if isinstance(turn, dict)
    )


def _completion(calls: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None if calls else "Blue thing"}
    if calls:
        message["tool_calls"] = [{"id": "c1", "type": "function", "function": CALL}]
    reason = "tool_calls" if calls else "stop"
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def _chunks(made: dict[str, Any]) -> list[str]:
    choice = made["choices"][0]
    delta = dict(choice["message"])
    if "tool_calls" in delta:
        delta["tool_calls"] = [{"index": 0, **call} for call in delta["tool_calls"]]
    chunk = {**made, "object": "chat.completion.chunk", "usage": None}
    said = {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    end = {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}
    done = {**chunk, "choices": [end], "usage": made["usage"]}
    return [f"data: {json.dumps(each)}\n\n" for each in (said, done)] + ["data: [DONE]\n\n"]


def _response(calls: bool) -> dict[str, Any]:
    part = {"type": "output_text", "text": "Blue thing", "annotations": [], "logprobs": []}
    said = {"type": "message", "id": "m1", "role": "assistant", "content": [part]}
    call = {"type": "function_call", "id": "f1", "call_id": "c1", **CALL}
    item = {**(call if calls else said), "status": "completed"}
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "m",
        "output": [item],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            **usage,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


def _events(made: dict[str, Any], calls: bool) -> list[str]:
    (item,) = made["output"]
    place = {"item_id": item["id"], "output_index": 0}
    begun = {**made, "status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, **({"arguments": ""} if calls else {"content": []})},
        },
    ]
    if calls:
        events.append({"type": "response.function_call_arguments.delta", **place, "delta": "{}"})
        events.append(
            {
                "type": "response.function_call_arguments.done",
                **place,
                "arguments": "{}",
                "name": "shoot",
            }
        )
    else:
        part = item["content"][0]
        inner = {**place, "content_index": 0}
        events += [
            {"type": "response.content_part.added", **inner, "part": {**part, "text": ""}},
            {
                "type": "response.output_text.delta",
                **inner,
                "delta": part["text"],
                "logprobs": [],
            },
        ]
    events += [
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": made},
    ]
    return [
        f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': number})}\n\n"
        for number, event in enumerate(events)
    ]
