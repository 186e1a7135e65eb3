"""`/v1/chat/completions`, answered by the local chain."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.guard import GuardedPrompt
from guardalign_middleware.guarded_stream import GuardedStream
from guardalign_middleware.serving.answers import Answering, Complete
from guardalign_middleware.serving.chat_reply import ChatCompletion, ChunkWriter, completion
from guardalign_middleware.serving.chat_request import ChatRequest, conversation_of
from guardalign_middleware.serving.errors import WORK_ERRORS, ApiError, error_responses
from guardalign_middleware.serving.events import DONE, EventStream, event
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
    async def chat(request: ChatRequest) -> Response:
        """Answer a conversation whose pictures have been checked and cleaned."""
        service.require_model(request.model)
        options = request.generation_options(service.config)
        answering = Answering(service, request.offered)
        prompt = await answering.prepare(
            conversation_of(request.messages, own_syntax=answering.calls_tools)
        )
        if not request.stream:
            answer = await answering.whole(prompt, options)
            body = completion(answer, service.model)
            return JSONResponse(body, headers=report_headers(body["guardalign"]))
        stream = await answering.start(prompt, options)
        writer = ChunkWriter(service.model, includes_usage=request.includes_usage)
        report = report_of(prompt.verdicts, refused=prompt.refused, dropped=prompt.dropped)
        return EventStream(
            _events(service, answering, prompt, stream, writer, request.includes_usage),
            report_headers(report),
        )

    @router.post("/v1/completions", responses=error_responses(404), include_in_schema=False)
    async def completions() -> None:
        raise ApiError(
            404,
            "The legacy endpoint /v1/completions takes no pictures and is not offered. Use "
            "/v1/chat/completions; in LlamaIndex's OpenAILike, set is_chat_model=True.",
            code="not_found",
        )

    return router


async def _events(
    service: Service,
    answering: Answering,
    prompt: GuardedPrompt,
    stream: GuardedStream,
    writer: ChunkWriter,
    includes_usage: bool,
) -> AsyncGenerator[bytes, None]:
    report = report_of(prompt.verdicts, refused=prompt.refused, dropped=prompt.dropped)
    try:
        yield event(writer.first(report))
        async for piece in answering.pieces(stream):
            if isinstance(piece, Complete):
                if piece.calls:
                    yield event(writer.calls(piece.calls))
                yield event(writer.last(piece))
                if includes_usage:
                    yield event(writer.usage(piece.reply.usage))
                yield DONE
            else:
                yield event(writer.text(piece, refusal=prompt.blocked))
    except GuardAlignError as error:
        # Without a finish reason and [DONE], so that no client takes it for a complete answer.
        yield event(service.refusal_for(error).body)
    finally:
        await stream.aclose()
