"""One request through the guard to the upstream, and its answer back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any

import httpx
from fastapi import Request, Response
from fastapi.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from guardalign_middleware.replies import CalibrationReport
from guardalign_middleware.serving.conversation import (
    MESSAGES,
    RESPONSES,
    CleanedConversation,
    ConversationGuard,
    Dialect,
)
from guardalign_middleware.serving.conversation_route import handling_of
from guardalign_middleware.serving.errors import ApiError
from guardalign_middleware.serving.events import EventStream, event
from guardalign_middleware.serving.report import report_headers
from guardalign_middleware.serving.service import Service
from guardalign_middleware.serving.upstream.blocked import (
    Blocked,
    blocked_answer,
    blocked_events,
)
from guardalign_middleware.serving.upstream.client import Upstream, failure, refusal
from guardalign_middleware.serving.upstream.headers import request_headers, response_headers

CALIBRATION = CalibrationReport(
    "off", prefix=False, reason="the model runs elsewhere, behind the upstream"
).to_json()
PARAMETERS = frozenset({"beta", "api-version", "limit", "after", "after_id", "before_id"})
"""What clients put into the addresses of requests."""


class Passing:
    """Passes requests on.

    Args:
        service: its guard cleans them.
        upstream: answers them.
    """

    def __init__(self, service: Service, upstream: Upstream) -> None:
        self._service = service
        self._upstream = upstream
        self._guard = ConversationGuard(service.guard, handling_of(service))

    async def ask(self, request: Request, dialect: Dialect, path: str) -> Response:
        """Clean the pictures of a request, and let the upstream answer it.

        Args:
            request: with a JSON body in this dialect.
            dialect: how it is written.
            path: of the upstream's endpoint.

        Raises:
            GuardAlignError: nothing was forwarded.
            ApiError: the request is no JSON object, or the upstream failed.
        """
        body = await request.json()
        if not isinstance(body, dict):
            raise ApiError(400, "The body should be a JSON object.", code="invalid_json")
        with self._service.budget():
            cleaned = await self._guard.aclean(body, dialect)
        report = {**cleaned.to_json(), "calibration": CALIBRATION}
        if cleaned.blocked and path == f"/{_ENDPOINTS[dialect.name]}":
            return self._blocked(body, cleaned, dialect, report)
        content = await _encoded(cleaned.body)
        return await self._pass(request, dialect, "POST", path, content, report)

    async def look(self, request: Request, dialect: Dialect, path: str) -> Response:
        """Let the upstream answer a request without a body."""
        return await self._pass(request, dialect, "GET", path, None, None)

    def _blocked(
        self,
        body: Mapping[str, Any],
        cleaned: CleanedConversation,
        dialect: Dialect,
        report: dict[str, Any],
    ) -> Response:
        options = body.get("stream_options")
        blocked = Blocked(
            self._service.guard.config.blocked_reply,
            str(body.get("model", "")),
            cleaned.blocked,
            report,
            isinstance(options, dict) and options.get("include_usage") is True,
        )
        headers = report_headers(report)
        if body.get("stream") is not True:
            return JSONResponse(blocked_answer(dialect.name, blocked), headers=headers)
        return EventStream(_each(blocked_events(dialect.name, blocked)), headers)

    async def _pass(
        self,
        request: Request,
        dialect: Dialect,
        method: str,
        path: str,
        content: bytes | None,
        report: dict[str, Any] | None,
    ) -> Response:
        options = self._service.options
        headers = request_headers(
            request.headers.items(),
            dialect,
            options.upstream_key,
            own_account=options.api_key is None,
        )
        response = await self._upstream.open(
            method, path, headers, params=_parameters(request), content=content
        )
        more = response_headers(response.headers)
        if report is not None:
            more |= report_headers(report)
        if _is_stream(response):
            return PassedStream(response, dialect, more)
        try:
            answer = _json(await response.aread())
        except httpx.TransportError as error:
            raise failure(error) from error
        finally:
            await response.aclose()
        refused = refusal(response, answer, own_key=options.upstream_key is not None)
        if refused is not None:
            refused.headers = {**more, **(refused.headers or {})}
            raise refused
        if report is not None and response.is_success:
            answer = {**answer, "guardalign": report}
        return JSONResponse(answer, response.status_code, more)


class PassedStream(Response):
    """The upstream's events, to the byte and as they come.

    Args:
        upstream: the response; closed at the end, also when the client leaves.
        dialect: how a failure in the middle is told.
        headers: of the response.
    """

    def __init__(self, upstream: httpx.Response, dialect: Dialect, headers: dict[str, str]) -> None:
        self._upstream = upstream
        self._dialect = dialect
        kept = {
            name: upstream.headers[name]
            for name in ("content-type", "content-encoding")
            if name in upstream.headers
        }
        # Proxies would otherwise collect the pieces of an answer.
        always = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(status_code=upstream.status_code, headers={**headers, **kept, **always})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the pieces."""
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            try:
                async for piece in self._upstream.aiter_raw():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            except httpx.TransportError as error:
                # Without the last event, so that no client takes it for a complete answer.
                broken = broken_off(self._dialect, failure(error))
                await send({"type": "http.response.body", "body": broken, "more_body": True})
        finally:
            await self._upstream.aclose()
        await send({"type": "http.response.body", "body": b""})


def broken_off(dialect: Dialect, error: ApiError) -> bytes:
    """The event of a failure in the middle of a stream, after whatever piece came last."""
    detail = error.body["error"]
    if dialect is RESPONSES:
        line = event({**detail, "type": "error", "sequence_number": 0}, "error")
    elif dialect is MESSAGES:
        line = event(error.anthropic_body, "error")
    else:
        line = event(error.body)
    return b"\n\n" + line


_ENDPOINTS = {"chat": "chat/completions", "responses": "responses", "messages": "messages"}


def _parameters(request: Request) -> dict[str, str]:
    unknown = set(request.query_params) - PARAMETERS
    if unknown:
        name = min(unknown)[:64]
        raise ApiError(400, f"The parameter {name!r} is not supported.", param=name)
    return dict(request.query_params)


def _is_stream(response: httpx.Response) -> bool:
    kind = response.headers.get("content-type", "")
    return response.is_success and kind.lower().startswith("text/event-stream")


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


async def _encoded(body: Mapping[str, Any]) -> bytes:
    """The body as JSON; a large one in a thread, so that no other stream waits for it."""
    return await asyncio.to_thread(lambda: json.dumps(body, separators=(",", ":")).encode())


async def _each(events: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    for item in events:
        yield item
