"""Answers in the form of `/v1/responses`, whole and as its events."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel

from guardalign_middleware.replies import FinishReason, Usage
from guardalign_middleware.serving.answers import Call, Complete
from guardalign_middleware.serving.errors import ApiError
from guardalign_middleware.serving.events import event
from guardalign_middleware.serving.report import report_of_reply
from guardalign_middleware.serving.responses_request import ResponsesRequest

_INCOMPLETE: dict[FinishReason, str] = {
    "blocked": "content_filter",
    "length": "max_output_tokens",
    # Only a server that is told to stop at once cancels what a client still reads.
    "cancelled": "max_output_tokens",
}


class IncompleteDetails(BaseModel):
    """Why an answer is not complete."""

    reason: Literal["max_output_tokens", "content_filter"]


class ResponsesUsage(BaseModel):
    """Token counts; image tokens are input tokens."""

    input_tokens: int
    input_tokens_details: dict[str, int]
    output_tokens: int
    output_tokens_details: dict[str, int]
    total_tokens: int


class ResponsesReply(BaseModel):
    """OpenAI's response, with what the guard found."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["completed", "incomplete", "in_progress"]
    error: None
    incomplete_details: IncompleteDetails | None
    model: str
    output: list[dict[str, Any]]
    usage: ResponsesUsage | None
    guardalign: dict[str, Any]


class ResponsesWriter:
    """Writes one answer, whole or as events.

    Args:
        model: name of the model.
        request: what was asked; the response repeats its options.
    """

    def __init__(self, model: str, request: ResponsesRequest) -> None:
        self.name = f"resp_{uuid4().hex}"
        self._message = f"msg_{uuid4().hex}"
        self._fields = {
            "id": self.name,
            "object": "response",
            "created_at": int(time.time()),
            "error": None,
            "model": model,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": request.metadata or {},
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": False,
            "temperature": request.temperature,
            "text": {"format": {"type": "text"}},
            "tool_choice": request.tool_choice or "auto",
            "tools": [tool.model_dump() for tool in request.tools or ()],
            "top_p": 1.0,
            "truncation": "disabled",
        }
        self._number = 0
        self._said = ""
        self._refusal = False

    def finish(self, answer: Complete) -> str:
        """Why the answer ended."""
        return _incomplete(answer) or ("tool_calls" if answer.calls else "stop")

    def whole(self, answer: Complete) -> dict[str, Any]:
        """The response."""
        blocked = answer.reply.finish_reason == "blocked"
        output = [] if answer.calls and not answer.text else [self._item(answer.text, blocked)]
        output += [_call(call, f"fc_{call.id}") for call in answer.calls]
        return self._response(answer, output)

    def begin(self, report: dict[str, Any]) -> Iterator[bytes]:
        """The empty response, with what the guard found."""
        begun = {
            **self._fields,
            "status": "in_progress",
            "incomplete_details": None,
            "output": [],
            "usage": None,
            "guardalign": report,
        }
        yield self._event("response.created", response=begun)
        yield self._event("response.in_progress", response=begun)

    def text(self, text: str, *, refusal: bool) -> Iterator[bytes]:
        """A piece of the answer."""
        if not self._said:
            yield from self._open(refusal)
        self._said += text
        place = self._place()
        if refusal:
            yield self._event("response.refusal.delta", **place, delta=text)
        else:
            yield self._event("response.output_text.delta", **place, delta=text, logprobs=[])

    def end(self, answer: Complete) -> Iterator[bytes]:
        """The end of the text, the calls, and the whole response."""
        output = []
        if not self._said and not answer.calls:
            yield from self._open(refusal=False)
        if self._said or not answer.calls:
            output.append(self._item(self._said, self._refusal))
            yield from self._close(output[0])
        for call in answer.calls:
            item = _call(call, f"fc_{call.id}")
            yield from self._called(item, len(output))
            output.append(item)
        kind = "incomplete" if _incomplete(answer) else "completed"
        yield self._event(f"response.{kind}", response=self._response(answer, output))

    def error(self, refusal: ApiError) -> Iterator[bytes]:
        """The error; no event says that the response is complete."""
        yield self._event("error", code=refusal.code, message=refusal.message, param=refusal.param)

    def _response(self, answer: Complete, output: list[dict[str, Any]]) -> dict[str, Any]:
        reason = _incomplete(answer)
        return {
            **self._fields,
            "status": "incomplete" if reason else "completed",
            "incomplete_details": {"reason": reason} if reason else None,
            "output": output,
            "usage": usage_of(answer.reply.usage),
            "guardalign": report_of_reply(answer.reply),
        }

    def _item(self, text: str, refusal: bool) -> dict[str, Any]:
        return {
            "id": self._message,
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [_part(text, refusal)],
        }

    def _open(self, refusal: bool) -> Iterator[bytes]:
        self._refusal = refusal
        item = {**self._item("", refusal), "status": "in_progress", "content": []}
        yield self._event("response.output_item.added", output_index=0, item=item)
        part = _part("", refusal)
        yield self._event("response.content_part.added", **self._place(), part=part)

    def _close(self, item: dict[str, Any]) -> Iterator[bytes]:
        place, said = self._place(), self._said
        if self._refusal:
            yield self._event("response.refusal.done", **place, refusal=said)
        else:
            yield self._event("response.output_text.done", **place, text=said, logprobs=[])
        yield self._event("response.content_part.done", **place, part=item["content"][0])
        yield self._event("response.output_item.done", output_index=0, item=item)

    def _called(self, item: dict[str, Any], index: int) -> Iterator[bytes]:
        place = {"item_id": item["id"], "output_index": index}
        begun = {**item, "status": "in_progress", "arguments": ""}
        written = item["arguments"]
        yield self._event("response.output_item.added", output_index=index, item=begun)
        yield self._event("response.function_call_arguments.delta", **place, delta=written)
        yield self._event(
            "response.function_call_arguments.done",
            **place,
            name=item["name"],
            arguments=written,
        )
        yield self._event("response.output_item.done", output_index=index, item=item)

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._message, "output_index": 0, "content_index": 0}

    def _event(self, kind: str, **fields: Any) -> bytes:
        number, self._number = self._number, self._number + 1
        return event({"type": kind, "sequence_number": number, **fields}, kind)


def usage_of(usage: Usage) -> dict[str, Any]:
    """The names of this protocol for the token counts."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total_tokens,
    }


def _incomplete(answer: Complete) -> str | None:
    return _INCOMPLETE.get(answer.reply.finish_reason)


def _part(text: str, refusal: bool) -> dict[str, Any]:
    if refusal:
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call(call: Call, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "type": "function_call",
        "status": "completed",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    }
