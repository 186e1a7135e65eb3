"""From a question to its response, whole or streamed, in whatever protocol it was asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.generation.options import GenerationOptions, Tools
from guardalign_middleware.guarded_stream import GuardedStream
from guardalign_middleware.serving.answers import Answering, Complete
from guardalign_middleware.serving.errors import ApiError
from guardalign_middleware.serving.events import EventStream
from guardalign_middleware.serving.observation import Observation, span_attributes
from guardalign_middleware.serving.report import report_headers, report_of
from guardalign_middleware.serving.service import Service


@dataclass(frozen=True)
class Question:
    """What a request asks, whatever the protocol.

    Attributes:
        model: name of the model.
        messages: for the chain.
        options: of the generation.
        tools: what the model may call.
        stream: whether the answer is wanted piece by piece.
    """

    model: str
    messages: Sequence[Mapping[str, Any]]
    options: GenerationOptions
    tools: Tools
    stream: bool


class Writer(Protocol):
    """Writes one answer in the words of a protocol."""

    @property
    def name(self) -> str:
        """The id of the response."""

    def finish(self, answer: Complete) -> str:
        """Why the answer ended."""

    def whole(self, answer: Complete) -> dict[str, Any]:
        """The body of a whole answer, with the field `guardalign`."""

    def begin(self, report: dict[str, Any]) -> Iterable[bytes]:
        """The events before the first word, with what the guard found."""

    def text(self, text: str, *, refusal: bool) -> Iterable[bytes]:
        """The events for a piece of the answer."""

    def end(self, answer: Complete) -> Iterable[bytes]:
        """The events after the last word."""

    def error(self, refusal: ApiError) -> Iterable[bytes]:
        """The events for a fault, after which the stream ends; no client takes it for complete."""


async def respond(
    service: Service, request: Request, question: Question, writer: Writer
) -> Response:
    """Answer a question with the local chain.

    Raises:
        ApiError: the model is unknown, or cannot call the tools.
        GuardAlignError: nothing was answered.
    """
    service.require_model(question.model)
    answering = Answering(service, question.tools)
    attributes = span_attributes(question.model, question.options, stream=question.stream)
    with ExitStack() as stack:
        observed = stack.enter_context(
            Observation(service.metrics, "chat", attributes, request.headers)
        )
        prompt = await answering.prepare(question.messages)
        observed.guarded(prompt.verdicts)
        if not question.stream:
            answer = await answering.whole(prompt, question.options)
            body = writer.whole(answer)
            observed.complete(answer.reply, writer.name, service.model, writer.finish(answer))
            return JSONResponse(body, headers=report_headers(body["guardalign"]))
        stream = await answering.start(prompt, question.options)
        report = report_of(prompt.verdicts, refused=prompt.refused, dropped=prompt.dropped)
        events = _Events(service, answering, observed, writer, report, prompt.blocked)
        stack.pop_all()  # the events end the observation
        return EventStream(events.of(stream), report_headers(report))


@dataclass(frozen=True)
class _Events:
    service: Service
    answering: Answering
    observed: Observation
    writer: Writer
    report: dict[str, Any]
    blocked: bool

    async def of(self, stream: GuardedStream) -> AsyncGenerator[bytes, None]:
        with self.observed:
            try:
                for event in self.writer.begin(self.report):
                    yield event
                async for piece in self.answering.pieces(stream):
                    for event in self._events(piece):
                        yield event
            except GuardAlignError as error:
                self.observed.failed(error)
                for event in self.writer.error(self.service.refusal_for(error)):
                    yield event
            finally:
                await stream.aclose()

    def _events(self, piece: str | Complete) -> Iterable[bytes]:
        if isinstance(piece, str):
            self.observed.spoke()
            return self.writer.text(piece, refusal=self.blocked)
        finish = self.writer.finish(piece)
        self.observed.complete(piece.reply, self.writer.name, self.service.model, finish)
        return self.writer.end(piece)
