"""`/v1/responses`, answered by the local chain; nothing is kept from one request to the next."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from guardalign_middleware.serving.errors import WORK_ERRORS, error_responses
from guardalign_middleware.serving.events import STREAMED
from guardalign_middleware.serving.respond import Question, respond
from guardalign_middleware.serving.responses_reply import ResponsesReply, ResponsesWriter
from guardalign_middleware.serving.responses_request import ResponsesRequest
from guardalign_middleware.serving.routes import strict_router
from guardalign_middleware.serving.service import Service


def responses_router(service: Service) -> APIRouter:
    """`/v1/responses`."""
    router = strict_router()

    @router.post(
        "/v1/responses",
        response_model=ResponsesReply,
        responses={**error_responses(*WORK_ERRORS, 404), **STREAMED},
        tags=["answers"],
    )
    async def responses(asked: ResponsesRequest, request: Request) -> Response:
        """Answer a conversation whose pictures have been checked and cleaned."""
        question = Question(
            asked.model,
            asked.conversation(),
            asked.generation_options(service.config),
            asked.offered,
            asked.stream is True,
        )
        writer = ResponsesWriter(service.model, asked)
        return await respond(service, request, question, writer)

    return router
