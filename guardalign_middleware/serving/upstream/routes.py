"""The endpoints of a server that stands in front of another one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx
from fastapi import APIRouter, FastAPI, Request, Response

from guardalign_middleware.conversation import CHAT, MESSAGES, RESPONSES
from guardalign_middleware.serving.errors import WORK_ERRORS, ApiError, error_responses
from guardalign_middleware.serving.events import STREAMED
from guardalign_middleware.serving.routes import strict_router
from guardalign_middleware.serving.service import Service
from guardalign_middleware.serving.upstream.client import Upstream
from guardalign_middleware.serving.upstream.passing import Passing

_METHODS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]


def upstream_router(
    service: Service, transport: httpx.AsyncBaseTransport | None = None
) -> APIRouter:
    """The endpoints of OpenAI and Anthropic in which the guard reads every picture.

    Args:
        service: with the address of an upstream.
        transport: carries the requests to it; None = the network.

    Raises:
        ConfigError: as for `Upstream`.
    """
    upstream = Upstream(service.config, transport)
    passing = Passing(service, upstream)
    router = strict_router()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await upstream.aclose()

    router.lifespan_context = lifespan

    @router.post("/v1/chat/completions", **_about("messages", "model"))
    async def chat(request: Request) -> Response:
        """OpenAI's Chat Completions, answered by the upstream."""
        return await passing.ask(request, CHAT, "/chat/completions")

    @router.post("/v1/responses", **_about("model"))
    async def responses(request: Request) -> Response:
        """OpenAI's Responses, answered by the upstream."""
        return await passing.ask(request, RESPONSES, "/responses")

    @router.post("/v1/messages", **_about("messages", "model", "max_tokens"))
    async def messages(request: Request) -> Response:
        """Anthropic's Messages, answered by the upstream."""
        return await passing.ask(request, MESSAGES, "/messages")

    @router.post("/v1/messages/count_tokens", **_about("messages", "model"))
    async def count_tokens(request: Request) -> Response:
        """How many tokens a request to `/v1/messages` has, counted by the upstream."""
        return await passing.ask(request, MESSAGES, "/messages/count_tokens")

    reading: dict[str, Any] = {
        "responses": error_responses(400, 401, 403, 404, 502, 504),
        "tags": ["answers"],
    }

    @router.get("/v1/models", **reading)
    async def models(request: Request) -> Response:
        """The models of the upstream."""
        return await passing.look(request, _caller(request), "/models")

    @router.get("/v1/models/{model:path}", **reading)
    async def model(request: Request, model: str) -> Response:
        """One model of the upstream."""
        if ".." in model:
            # Behind the upstream's own proxy, this could be the path of another endpoint.
            raise ApiError(404, "There is no such model.", code="model_not_found", param="model")
        return await passing.look(request, _caller(request), f"/models/{quote(model, safe='')}")

    return router


def closed_router(service: Service) -> APIRouter:
    """Every other endpoint of the upstream, through which pictures could pass unread."""
    router = APIRouter()

    @router.api_route("/v1/{rest:path}", methods=_METHODS, include_in_schema=False)
    async def closed(rest: str) -> None:
        raise ApiError(
            404,
            f"The endpoint /v1/{rest[:64]} is not passed on, because this guard would not read the "
            "pictures in it. Offered are /v1/chat/completions, /v1/responses, /v1/messages and "
            "/v1/models.",
            code="not_found",
        )

    return router


def _caller(request: Request) -> Any:
    """Whose client asks: Anthropic's say their version in each request."""
    return MESSAGES if "anthropic-version" in request.headers else CHAT


def _about(*required: str) -> dict[str, Any]:
    """The OpenAPI of an endpoint whose body the upstream checks."""
    body = {"type": "object", "required": list(required)}
    return {
        "responses": {**error_responses(*WORK_ERRORS, 404, 502, 504), **STREAMED},
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}}
        },
        "tags": ["answers"],
    }
