"""`/v1/guard/conversation`: a whole request in, its cleaned copy and the verdicts out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from guardalign_middleware.conversation import (
    DIALECTS,
    ConversationGuard,
    Handling,
    dialect_of,
)
from guardalign_middleware.conversation.dialects import DialectName
from guardalign_middleware.serving.errors import WORK_ERRORS, ApiError, error_responses
from guardalign_middleware.serving.routes import strict_router
from guardalign_middleware.serving.service import Service


class CleanedRequest(BaseModel):
    """A request that may go to a model.

    Attributes:
        dialect: how it was read.
        request: the copy, with every picture scanned and cleaned.
        blocked: whether a picture in the newest turns is blocked; in `request`, a notice stands in
            its place.
        reply: what to answer in the model's place; null unless `blocked`.
        guardalign: what the guard found; with a `warning` if it knows drawn pictures only.
    """

    dialect: DialectName
    request: dict[str, Any]
    blocked: bool
    reply: str | None
    guardalign: dict[str, Any]


def conversation_router(service: Service) -> APIRouter:
    """The endpoint for gateways that forward requests by themselves."""
    router = strict_router()
    guard = conversation_guard(service)
    body = {"type": "object"}

    @router.post(
        "/v1/guard/conversation",
        responses=error_responses(*WORK_ERRORS),
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}}
        },
        tags=["guard"],
    )
    async def conversation(
        request: Request,
        dialect: Annotated[DialectName | None, Query(description="null: by its fields")] = None,
    ) -> CleanedRequest:
        """Clean the body of a request to OpenAI's or Anthropic's API, in every position."""
        service.guards_alone()
        sent = await request.json()
        if not isinstance(sent, dict):
            raise ApiError(400, "The body should be a JSON object.", code="invalid_json")
        written = dialect_of(sent) if dialect is None else DIALECTS[dialect]
        with service.budget():
            cleaned = await guard.aclean(sent, written)
        service.count(cleaned.verdicts)
        blocked = bool(cleaned.blocked)
        warning = {} if service.warning is None else {"warning": service.warning}
        return CleanedRequest(
            dialect=written.name,
            request=dict(cleaned.body),
            blocked=blocked,
            reply=service.guard.config.blocked_reply if blocked else None,
            guardalign=cleaned.to_json() | warning,
        )

    return router


def conversation_guard(service: Service) -> ConversationGuard:
    """A guard of conversations, as the server's configuration says."""
    config = service.config
    handling = Handling(
        config.on_unsafe, config.on_refused, config.on_blocked, config.allow_unscanned
    )
    return ConversationGuard(service.guard, handling, config.max_text_characters)
