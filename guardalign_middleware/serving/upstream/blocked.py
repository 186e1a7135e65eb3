"""The answer to a blocked picture, in the place of the model's and in its form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from guardalign_middleware.conversation import CHAT, RESPONSES, Dialect
from guardalign_middleware.replies import GuardedReply
from guardalign_middleware.serving.answers import Complete
from guardalign_middleware.serving.chat_reply import ChatWriter
from guardalign_middleware.serving.respond import Writer
from guardalign_middleware.serving.responses_reply import ResponsesWriter
from guardalign_middleware.serving.responses_request import ResponsesRequest
from guardalign_middleware.serving.upstream.messages_reply import MessagesWriter
from guardalign_middleware.types import Verdict


class BlockedAnswer:
    """Says one thing, because the model was not asked.

    Args:
        text: what it says.
        body: of the request.
        dialect: how the request is written.
        verdicts: on the blocked pictures.
        report: what the guard found.
    """

    def __init__(
        self,
        text: str,
        body: Mapping[str, Any],
        dialect: Dialect,
        verdicts: tuple[Verdict, ...],
        report: dict[str, Any],
    ) -> None:
        model = body.get("model")
        name = model if isinstance(model, str) else ""
        self._writer = writer_of(dialect, name, body)
        self._answer = Complete(text, (), GuardedReply.blocked(text, verdicts, name))
        self._report = report

    def whole(self) -> dict[str, Any]:
        """The body."""
        return {**self._writer.whole(self._answer), "guardalign": self._report}

    def events(self) -> Iterator[bytes]:
        """The events of a stream."""
        yield from self._writer.begin(self._report)
        yield from self._writer.text(self._answer.text, refusal=True)
        yield from self._writer.end(self._answer)


def writer_of(dialect: Dialect, model: str, body: Mapping[str, Any] | None = None) -> Writer:
    """Writes answers in a dialect.

    Args:
        dialect: of the request.
        model: name of the model.
        body: of the request, which may ask for the usage.
    """
    if dialect is CHAT:
        options = (body or {}).get("stream_options")
        includes = isinstance(options, dict) and options.get("include_usage") is True
        return ChatWriter(model, includes_usage=includes)
    if dialect is RESPONSES:
        return ResponsesWriter(model, ResponsesRequest(model=model, input=""))
    return MessagesWriter(model)
