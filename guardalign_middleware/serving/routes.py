"""Routes whose JSON has one meaning only, and how an app gets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict

from guardalign_middleware.serving.errors import ApiError
from guardalign_middleware.strict import Malformed, json_value

MAX_DEPTH = 64
"""How deep lists and objects of a request may be nested."""
_SMALL = 262_144


class StrictBody(BaseModel):
    """A JSON object without unknown fields, whose values are converted to no other type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class StrictRequest(Request):
    """A request whose JSON has no doubled names, NaN, NUL or very deep nesting.

    Of doubled names one reader takes the first and another the last, so what was scanned would not
    be what is answered.
    """

    async def json(self) -> Any:
        """The body.

        Raises:
            ApiError: 400, it is not strict JSON.
        """
        body = await self.body()
        try:
            if len(body) <= _SMALL:
                return json_value(body, max_depth=MAX_DEPTH)
            # Megabytes of base64 take long enough to hold up other requests' streams.
            return await asyncio.to_thread(json_value, body, max_depth=MAX_DEPTH)
        except Malformed as error:
            raise ApiError(400, f"The body is invalid: {error}.", code="invalid_json") from error


class StrictRoute(APIRoute):
    """A route that reads JSON strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, which gets a `StrictRequest`."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            if not isinstance(request, StrictRequest):
                request = StrictRequest(request.scope, request.receive)
            return await handler(request)

        return strict


def strict_router() -> APIRouter:
    """A router for routes that take JSON."""
    return APIRouter(route_class=StrictRoute)


def add_routes(app: FastAPI, router: APIRouter) -> None:
    """Make the routes and the lifespan of a router the app's own.

    Behind `include_router`, each request would be looked up in every router, and twice.
    """
    app.router.routes += router.routes
    outer, inner = app.router.lifespan_context, router.lifespan_context

    @asynccontextmanager
    async def lifespan(running: FastAPI) -> AsyncGenerator[Any, None]:
        async with inner(running), outer(running) as state:
            yield state

    app.router.lifespan_context = lifespan
