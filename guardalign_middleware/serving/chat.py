"""`/v1/chat/completions`, answered by the local chain."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from guardalign_middleware.serving.chat_reply import ChatCompletion, ChatWriter
from guardalign_middleware.serving.chat_request import ChatRequest, conversation_of
from guardalign_middleware.serving.errors import WORK_ERRORS, ApiError, error_responses
from guardalign_middleware.serving.events import STREAMED
from guardalign_middleware.serving.respond import Question, respond
from guardalign_middleware.serving.routes import strict_router
from guardalign_middleware.serving.service import Service


def chat_router(service: Service) -> APIRouter:
    """`/v1/chat/completions`, and an explanation at `/v1/completions`."""
    router = strict_router()

    @router.post(
        "/v1/chat/completions",
        response_model=ChatCompletion,
        responses={**error_responses(*WORK_ERRORS, 404), **STREAMED},
        tags=["answers"],
    )
    async def chat(asked: ChatRequest, request: Request) -> Response:
        """Answer a conversation whose pictures have been checked and cleaned."""
        tools = asked.offered
        question = Question(
            asked.model,
            conversation_of(asked.messages, own_syntax=bool(tools)),
            asked.generation_options(service.config),
            tools,
            asked.stream is True,
        )
        writer = ChatWriter(service.model, includes_usage=asked.includes_usage)
        return await respond(service, request, question, writer)

    @router.post("/v1/completions", responses=error_responses(404), include_in_schema=False)
    async def completions() -> None:
        raise ApiError(
            404,
            "The legacy endpoint /v1/completions takes no pictures and is not offered. Use "
            "/v1/chat/completions; in LlamaIndex's OpenAILike, set is_chat_model=True.",
            code="not_found",
        )

    return router
