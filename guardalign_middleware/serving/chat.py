"""`/v1/chat/completions`, answered by the local chain."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.guarded_stream import GuardedStream
from guardalign_middleware.serving.answers import Answering, Complete
from guardalign_middleware.serving.chat_reply import (
    ChatCompletion,
    ChunkWriter,
    completion,
    finish_of,
)
from guardalign_middleware.serving.chat_request import ChatRequest, conversation_of
from guardalign_middleware.serving.errors import WORK_ERRORS, ApiError, error_responses
from guardalign_middleware.serving.events import DONE, EventStream, event
from guardalign_middleware.serving.observation import Observation, span_attributes
from guardalign_middleware.serving.report import report_headers, report_of
from guardalign_middleware.serving.routes import strict_router
from guardalign_middleware.serving.service import Service


def chat_router(service: Service) -> APIRouter:
    """`/v1/chat/completions`, and an explanation at `/v1/completions`."""
    router = strict_router()

    @router.post(
        "/v1/chat/completions",
        response_model=ChatCompletion,
        responses={
            **error_responses(*WORK_ERRORS, 404),
            200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
        },
        tags=["answers"],
    )
    async def chat(request: ChatRequest, http: Request) -> Response:
        """Answer a conversation whose pictures have been checked and cleaned."""
        service.require_model(request.model)
        options = request.generation_options(service.config)
        answering = Answering(service, request.offered)
        streams = request.stream is True
        with ExitStack() as stack:
            attributes = span_attributes(request.model, options, stream=streams)
            observed = stack.enter_context(
                Observation(service.metrics, "chat", attributes, http.headers)
            )
            prompt = await answering.prepare(
                conversation_of(request.messages, own_syntax=answering.calls_tools)
            )
            observed.guarded(prompt.verdicts)
            if not streams:
                answer = await answering.whole(prompt, options)
                body = completion(answer, service.model)
                observed.complete(answer.reply, body["id"], service.model, finish_of(answer))
                return JSONResponse(body, headers=report_headers(body["guardalign"]))
            stream = await answering.start(prompt, options)
            writer = ChunkWriter(service.model, includes_usage=request.includes_usage)
            report = report_of(prompt.verdicts, refused=prompt.refused, dropped=prompt.dropped)
            events = _Events(service, answering, observed, writer, report, prompt.blocked)
            stack.pop_all()  # the events end the observation
            return EventStream(events.of(stream), report_headers(report))

    @router.post("/v1/completions", responses=error_responses(404), include_in_schema=False)
    async def completions() -> None:
        raise ApiError(
            404,
            "The legacy endpoint /v1/completions takes no pictures and is not offered. Use "
            "/v1/chat/completions; in LlamaIndex's OpenAILike, set is_chat_model=True.",
            code="not_found",
        )

    return router


@dataclass(frozen=True)
class _Events:
    service: Service
    answering: Answering
    observed: Observation
    writer: ChunkWriter
    report: dict[str, Any]
    blocked: bool

    async def of(self, stream: GuardedStream) -> AsyncGenerator[bytes, None]:
        with self.observed:
            try:
                yield event(self.writer.first(self.report))
                async for piece in self.answering.pieces(stream):
                    if isinstance(piece, str):
                        self.observed.spoke()
                        yield event(self.writer.text(piece, refusal=self.blocked))
                    else:
                        for each in self._end(piece):
                            yield each
            except GuardAlignError as error:
                self.observed.failed(error)
                # Without a finish reason and [DONE], so that no client takes it for complete.
                yield event(self.service.refusal_for(error).body)
            finally:
                await stream.aclose()

    def _end(self, answer: Complete) -> Iterator[bytes]:
        name = self.writer.name
        self.observed.complete(answer.reply, name, self.service.model, finish_of(answer))
        if answer.calls:
            yield event(self.writer.calls(answer.calls))
        yield event(self.writer.last(answer))
        if self.writer.includes_usage:
            yield event(self.writer.usage(answer.reply.usage))
        yield DONE
