"""Answers in Anthropic's form, for what the upstream is not asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from guardalign_middleware.serving.answers import Complete
from guardalign_middleware.serving.errors import ApiError
from guardalign_middleware.serving.events import event
from guardalign_middleware.serving.report import report_of_reply


class MessagesWriter:
    """Writes one answer in words, whole or as events.

    Args:
        model: name of the model.
    """

    def __init__(self, model: str) -> None:
        self.name = f"msg_{uuid4().hex}"
        self._fields = {
            "id": self.name,
            "type": "message",
            "role": "assistant",
            "model": model,
            "stop_sequence": None,
        }

    def finish(self, answer: Complete) -> str:
        """Anthropic's reason for the end of an answer."""
        reasons = {"blocked": "refusal", "stop": "end_turn"}
        return reasons.get(answer.reply.finish_reason, "max_tokens")

    def whole(self, answer: Complete) -> dict[str, Any]:
        """The message."""
        return {
            **self._fields,
            "content": [{"type": "text", "text": answer.text}],
            "stop_reason": self.finish(answer),
            "usage": _usage(answer),
            "guardalign": report_of_reply(answer.reply),
        }

    def begin(self, report: dict[str, Any]) -> Iterator[bytes]:
        """The empty message, with what the guard found."""
        begun: dict[str, Any] = {
            **self._fields,
            "content": [],
            "stop_reason": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
            "guardalign": report,
        }
        yield _event("message_start", message=begun)
        block = {"type": "text", "text": ""}
        yield _event("content_block_start", index=0, content_block=block)

    def text(self, text: str, *, refusal: bool) -> Iterator[bytes]:
        """A piece of the answer."""
        yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def end(self, answer: Complete) -> Iterator[bytes]:
        """The end of the text, and its reason."""
        yield _event("content_block_stop", index=0)
        delta = {"stop_reason": self.finish(answer), "stop_sequence": None}
        yield _event("message_delta", delta=delta, usage=_usage(answer))
        yield _event("message_stop")

    def error(self, refusal: ApiError) -> Iterator[bytes]:
        """The error; no event says that the message is complete."""
        yield event(refusal.anthropic_body, "error")


def _usage(answer: Complete) -> dict[str, int]:
    usage = answer.reply.usage
    return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}


def _event(kind: str, **fields: Any) -> bytes:
    return event({"type": kind, **fields}, kind)
