"""The answer to a blocked picture, in the place of the model's and in its form."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from guardalign_middleware.replies import GuardedReply
from guardalign_middleware.serving.answers import Complete
from guardalign_middleware.serving.chat_reply import ChunkWriter, completion
from guardalign_middleware.serving.conversation.dialects import DialectName
from guardalign_middleware.serving.events import DONE, event
from guardalign_middleware.types import Verdict


@dataclass(frozen=True)
class Blocked:
    """What a client is told.

    Attributes:
        text: the reply in words.
        model: the model that was not asked.
        verdicts: on the blocked pictures.
        report: what the guard found.
        includes_usage: whether a stream of chat should tell the usage.
    """

    text: str
    model: str
    verdicts: tuple[Verdict, ...]
    report: Mapping[str, Any]
    includes_usage: bool = False


def blocked_answer(dialect: DialectName, blocked: Blocked) -> dict[str, Any]:
    """The whole answer."""
    return {**_ANSWERS[dialect](blocked), "guardalign": dict(blocked.report)}


def blocked_events(dialect: DialectName, blocked: Blocked) -> Iterator[bytes]:
    """The answer as the events of a stream."""
    return _EVENTS[dialect](blocked)


def _completion(blocked: Blocked) -> dict[str, Any]:
    return completion(_complete(blocked), blocked.model)


def _chunks(blocked: Blocked) -> Iterator[bytes]:
    writer = ChunkWriter(blocked.model, includes_usage=blocked.includes_usage)
    complete = _complete(blocked)
    yield event(writer.first(dict(blocked.report)))
    yield event(writer.text(blocked.text, refusal=True))
    yield event({**writer.last(complete), "guardalign": dict(blocked.report)})
    if blocked.includes_usage:
        yield event(writer.usage(complete.reply.usage))
    yield DONE


def _complete(blocked: Blocked) -> Complete:
    reply = GuardedReply.blocked(blocked.text, blocked.verdicts, blocked.model)
    return Complete(blocked.text, (), reply)


def _response(blocked: Blocked) -> dict[str, Any]:
    return _response_with([_item(blocked.text)], blocked, "incomplete")


def _response_with(output: list[Any], blocked: Blocked, status: str) -> dict[str, Any]:
    ended = status == "incomplete"
    details = {"cached_tokens": 0}, {"reasoning_tokens": 0}
    return {
        "id": f"resp_{uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "content_filter"} if ended else None,
        "instructions": None,
        "metadata": {},
        "model": blocked.model,
        "output": output,
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": {
            "input_tokens": 0,
            "input_tokens_details": details[0],
            "output_tokens": 0,
            "output_tokens_details": details[1],
            "total_tokens": 0,
        }
        if ended
        else None,
    }


def _item(text: str | None) -> dict[str, Any]:
    """The message; without its text at the beginning of a stream."""
    return {
        "id": f"msg_{uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "status": "in_progress" if text is None else "completed",
        "content": [] if text is None else [{"type": "refusal", "refusal": text}],
    }


def _response_events(blocked: Blocked) -> Iterator[bytes]:
    begun = _response_with([], blocked, "in_progress")
    item = _item(None)
    whole = {**_item(blocked.text), "id": item["id"]}
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    empty, part = ({"type": "refusal", "refusal": text} for text in ("", blocked.text))
    ended = {**_response_with([whole], blocked, "incomplete"), "id": begun["id"]}
    steps: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
        ("response.output_item.added", {"output_index": 0, "item": item}),
        ("response.content_part.added", {**place, "part": empty}),
        ("response.refusal.delta", {**place, "delta": blocked.text}),
        ("response.refusal.done", {**place, "refusal": blocked.text}),
        ("response.content_part.done", {**place, "part": part}),
        ("response.output_item.done", {"output_index": 0, "item": whole}),
        ("response.incomplete", {"response": {**ended, "guardalign": dict(blocked.report)}}),
    ]
    for number, (name, fields) in enumerate(steps):
        yield event({"type": name, "sequence_number": number, **fields}, name)


def _message(blocked: Blocked) -> dict[str, Any]:
    return {
        "id": f"msg_{uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": blocked.model,
        "content": [{"type": "text", "text": blocked.text}],
        "stop_reason": "refusal",
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def _message_events(blocked: Blocked) -> Iterator[bytes]:
    whole = _message(blocked)
    begun = {**whole, "content": [], "stop_reason": None}
    text = {"type": "text_delta", "text": blocked.text}
    ended = {"stop_reason": "refusal", "stop_sequence": None}
    steps: list[tuple[str, dict[str, Any]]] = [
        ("message_start", {"message": {**begun, "guardalign": dict(blocked.report)}}),
        ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        ("content_block_delta", {"index": 0, "delta": text}),
        ("content_block_stop", {"index": 0}),
        ("message_delta", {"delta": ended, "usage": {"output_tokens": 0}}),
        ("message_stop", {}),
    ]
    for name, fields in steps:
        yield event({"type": name, **fields}, name)


_ANSWERS: Mapping[DialectName, Callable[[Blocked], dict[str, Any]]] = {
    "chat": _completion,
    "responses": _response,
    "messages": _message,
}
_EVENTS: Mapping[DialectName, Callable[[Blocked], Iterator[bytes]]] = {
    "chat": _chunks,
    "responses": _response_events,
    "messages": _message_events,
}
