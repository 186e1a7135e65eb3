"""The chain's replies as LangChain messages, with the tool calls in the model's answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import (
    ToolCall,
    invalid_tool_call,
    tool_call,
    tool_call_chunk,
)

from guardalign_middleware.replies import GuardedChunk, GuardedReply, dropped_record
from langchain_guardalign.verdict_metadata import message_fields

if TYPE_CHECKING:
    from guardalign_middleware.generation.prompt.tool_calls import Answer, AnswerReader


class ReplyWriter:
    """Converts one reply to a message, or its pieces to chunks.

    Args:
        reader: separates tool calls from the text; None if no tools were offered.
        must_call: whether an answer without a call is an error.
    """

    def __init__(self, reader: AnswerReader | None = None, *, must_call: bool = False) -> None:
        self._reader = reader
        self._must_call = must_call

    def message(self, reply: GuardedReply) -> AIMessage:
        """Convert a whole reply.

        Raises:
            OutputParserException: `must_call` is set, and the answer has no readable call.
        """
        content, calls, invalid = reply.text, [], []
        if self._reader is not None:
            self._reader.feed(reply.text)
            answer = self._answer(reply)[1]
            content = answer.text
            calls = [
                tool_call(name=call.name, args=dict(call.arguments), id=_new_id())
                for call in answer.calls
            ]
            if answer.fault:
                invalid = [invalid_tool_call(args=answer.broken, id=_new_id(), error=answer.fault)]
        return AIMessage(
            content=content,
            tool_calls=calls,
            invalid_tool_calls=invalid,
            usage_metadata=_usage(reply),
            **_metadata(reply),
        )

    def chunk(self, piece: GuardedChunk) -> AIMessageChunk:
        """Convert one piece; the last one carries calls, verdicts and usage.

        Raises:
            OutputParserException: `must_call` is set, and the answer has no readable call.
        """
        text = piece.text if self._reader is None else self._reader.feed(piece.text)
        if piece.reply is None:
            return AIMessageChunk(content=text)
        chunks = []
        if self._reader is not None:
            rest, answer = self._answer(piece.reply)
            text += rest
            calls = [(call.name, json.dumps(dict(call.arguments))) for call in answer.calls]
            broken = [(None, answer.broken)] if answer.fault else []
            chunks = [
                tool_call_chunk(name=name, args=args, id=_new_id(), index=index)
                for index, (name, args) in enumerate([*calls, *broken])
            ]
        return AIMessageChunk(
            content=text,
            tool_call_chunks=chunks,
            usage_metadata=_usage(piece.reply),
            chunk_position="last",
            **_metadata(piece.reply),
        )

    def _answer(self, reply: GuardedReply) -> tuple[str, Answer]:
        if self._reader is None:
            raise RuntimeError("There is no reader for tool calls.")
        rest, answer = self._reader.finish()
        if self._must_call and not answer.calls:
            raise OutputParserException(
                f"The model should have called a tool and did not. {answer.fault}".strip(),
                llm_output=reply.text,
            )
        return rest, answer


def calls_in_model_syntax(calls: Sequence[ToolCall]) -> str:
    """Write calls of the history as a tool-calling model writes them."""
    from guardalign_middleware.generation.prompt.tool_calls import ToolCall as Call
    from guardalign_middleware.generation.prompt.tool_calls import written_calls

    return written_calls([Call(call["name"], call["args"]) for call in calls])


def records_of(reply: GuardedReply) -> list[dict[str, Any]]:
    """The verdicts, and behind them what was refused, as plain JSON values."""
    verdicts = [verdict.to_json() for verdict in reply.verdicts]
    return [*verdicts, *(refused.to_json() for refused in reply.refused)]


def _new_id() -> str:
    return f"call_{uuid4().hex}"


def _usage(reply: GuardedReply) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        total_tokens=reply.usage.total_tokens,
    )


def _metadata(reply: GuardedReply) -> dict[str, Any]:
    """Without pixels or image bytes, because metadata are written to logs and traces."""
    records = records_of(reply)
    more: dict[str, Any] = {"calibration": reply.calibration.to_json()}
    if reply.dropped:
        more["dropped"] = dropped_record(reply.dropped)
    fields = message_fields(records, **more)
    fields["response_metadata"] |= {
        "model_name": reply.model,
        "model_provider": "guardalign",
        "finish_reason": reply.finish_reason,
    }
    return fields
