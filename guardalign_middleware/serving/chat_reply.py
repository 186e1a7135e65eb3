"""Answers in the form of `/v1/chat/completions`."""

from __future__ import annotations

import time
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel

from guardalign_middleware.replies import FinishReason, Usage
from guardalign_middleware.serving.answers import Call, Complete
from guardalign_middleware.serving.report import report_of_reply

Finish = Literal["stop", "length", "tool_calls", "content_filter"]
_FINISH: dict[FinishReason, Finish] = {
    "stop": "stop",
    "length": "length",
    "blocked": "content_filter",
    # Only a server that is told to stop at once cancels what a client still reads.
    "cancelled": "length",
}


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


def completion(answer: Complete, model: str) -> dict[str, Any]:
    """A whole answer."""
    blocked = answer.reply.finish_reason == "blocked"
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if blocked or (answer.calls and not answer.text) else answer.text,
        "refusal": answer.text if blocked else None,
    }
    if answer.calls:
        message["tool_calls"] = [_call(call) for call in answer.calls]
    return {
        "id": f"chatcmpl-{uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": finish_of(answer),
            }
        ],
        "usage": usage_of(answer.reply.usage),
        "guardalign": report_of_reply(answer.reply),
    }


class ChunkWriter:
    """The chunks of one streamed answer.

    Args:
        model: name of the model.
        includes_usage: whether the client asked for the usage; then every chunk has the field.
    """

    def __init__(self, model: str, *, includes_usage: bool) -> None:
        self.includes_usage = includes_usage
        self.name = f"chatcmpl-{uuid4().hex}"
        self._fields = {
            "id": self.name,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }

    def first(self, report: dict[str, Any]) -> dict[str, Any]:
        """The role, and what the guard found: before the first word."""
        delta = {"role": "assistant", "content": "", "refusal": None}
        return {**self._chunk(delta), "guardalign": report}

    def text(self, text: str, *, refusal: bool) -> dict[str, Any]:
        """A piece of the answer."""
        return self._chunk({"refusal" if refusal else "content": text})

    def calls(self, calls: tuple[Call, ...]) -> dict[str, Any]:
        """The calls of the answer."""
        listed = [{"index": index, **_call(call)} for index, call in enumerate(calls)]
        return self._chunk({"tool_calls": listed})

    def last(self, answer: Complete) -> dict[str, Any]:
        """The end of the answer, and how it was generated."""
        chunk = self._chunk({}, finish_of(answer))
        return {**chunk, "guardalign": report_of_reply(answer.reply)}

    def usage(self, usage: Usage) -> dict[str, Any]:
        """The usage, in a chunk of its own."""
        return {**self._fields, "choices": [], "usage": usage_of(usage)}

    def _chunk(self, delta: dict[str, Any], finish: Finish | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk = {**self._fields, "choices": [choice]}
        return {**chunk, "usage": None} if self.includes_usage else chunk


def finish_of(answer: Complete) -> Finish:
    """OpenAI's reason for the end of an answer."""
    return "tool_calls" if answer.calls else _FINISH[answer.reply.finish_reason]


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
