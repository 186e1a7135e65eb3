"""Answers in the form of `/v1/chat/completions`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel

from guardalign_middleware.replies import FinishReason, Usage
from guardalign_middleware.serving.answers import Call, Complete
from guardalign_middleware.serving.errors import ApiError
from guardalign_middleware.serving.events import DONE, event
from guardalign_middleware.serving.report import report_of_reply

Finish = Literal["stop", "length", "tool_calls", "content_filter"]
_FINISH: dict[FinishReason, Finish] = {
    "stop": "stop",
    "length": "length",
    "blocked": "content_filter",
    # Only a server that is told to stop at once cancels what a client still reads.
    "cancelled": "length",
}
_CHUNK = "chat.completion.chunk"


class Function(BaseModel):
    """A call's function; `arguments` is JSON."""

    name: str
    arguments: str


class FunctionCall(BaseModel):
    """A call of a tool."""

    id: str
    type: Literal["function"]
    function: Function


class AssistantMessage(BaseModel):
    """An answer; `refusal` instead of `content` where a picture was blocked."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    tool_calls: list[FunctionCall] | None = None


class Choice(BaseModel):
    """The only choice."""

    index: Literal[0]
    message: AssistantMessage
    logprobs: None
    finish_reason: Finish


class ChatUsage(BaseModel):
    """Token counts; image tokens are prompt tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(BaseModel):
    """OpenAI's answer, with what the guard found."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: ChatUsage
    guardalign: dict[str, Any]


class ChatWriter:
    """Writes one answer, whole or in chunks.

    Args:
        model: name of the model.
        includes_usage: whether the client asked for the usage; then every chunk has the field.
    """

    def __init__(self, model: str, *, includes_usage: bool) -> None:
        self._includes_usage = includes_usage
        self.name = f"chatcmpl-{uuid4().hex}"
        self._fields = {"id": self.name, "created": int(time.time()), "model": model}

    def finish(self, answer: Complete) -> Finish:
        """OpenAI's reason for the end of an answer."""
        return "tool_calls" if answer.calls else _FINISH[answer.reply.finish_reason]

    def whole(self, answer: Complete) -> dict[str, Any]:
        """The completion."""
        blocked = answer.reply.finish_reason == "blocked"
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if blocked or (answer.calls and not answer.text) else answer.text,
            "refusal": answer.text if blocked else None,
        }
        if answer.calls:
            message["tool_calls"] = [_call(call) for call in answer.calls]
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": self.finish(answer),
        }
        return {
            **self._fields,
            "object": "chat.completion",
            "choices": [choice],
            "usage": usage_of(answer.reply.usage),
            "guardalign": report_of_reply(answer.reply),
        }

    def begin(self, report: dict[str, Any]) -> Iterator[bytes]:
        """The role, and what the guard found."""
        yield self._chunk({"role": "assistant", "content": "", "refusal": None}, guardalign=report)

    def text(self, text: str, *, refusal: bool) -> Iterator[bytes]:
        """A piece of the answer."""
        yield self._chunk({"refusal" if refusal else "content": text})

    def end(self, answer: Complete) -> Iterator[bytes]:
        """The calls, the reason for the end, and the usage."""
        if answer.calls:
            listed = [{"index": index, **_call(call)} for index, call in enumerate(answer.calls)]
            yield self._chunk({"tool_calls": listed})
        report = report_of_reply(answer.reply)
        yield self._chunk({}, self.finish(answer), guardalign=report)
        if self._includes_usage:
            usage = usage_of(answer.reply.usage)
            yield event({**self._fields, "object": _CHUNK, "choices": [], "usage": usage})
        yield DONE

    def error(self, refusal: ApiError) -> Iterator[bytes]:
        """The error, without a reason for the end and without `[DONE]`."""
        yield event(refusal.body)

    def _chunk(self, delta: dict[str, Any], finish: Finish | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        if self._includes_usage:
            more["usage"] = None
        return event({**self._fields, "object": _CHUNK, "choices": [choice], **more})


def usage_of(usage: Usage) -> dict[str, int]:
    """OpenAI's names for the token counts."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }


def _call(call: Call) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}
