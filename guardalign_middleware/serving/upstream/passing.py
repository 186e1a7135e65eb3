"""One request through the guard to the upstream, and its answer back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import httpx
from fastapi import Request, Response
from fastapi.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from guardalign_middleware.conversation import (
    CleanedConversation,
    Dialect,
)
from guardalign_middleware.replies import CalibrationReport, Usage
from guardalign_middleware.serving.conversation_route import conversation_guard
from guardalign_middleware.serving.errors import ApiError
from guardalign_middleware.serving.events import EventStream
from guardalign_middleware.serving.observation import Observation
from guardalign_middleware.serving.report import report_headers
from guardalign_middleware.serving.service import Service
from guardalign_middleware.serving.upstream.blocked import BlockedAnswer, writer_of
from guardalign_middleware.serving.upstream.client import FAILURES, Upstream, failure, refusal
from guardalign_middleware.serving.upstream.headers import request_headers, response_headers
from guardalign_middleware.strict import Malformed, passing_value

CALIBRATION = CalibrationReport(
    "off", prefix=False, reason="the model runs elsewhere, behind the upstream"
).to_json()
_MAX_DEPTH = 256
"""Deepest nesting accepted in an answer.

Answers echo request schemas (at most 64 levels); `json.dumps` fails near 900 levels.
"""
_MOST_TOKENS = 2**63
"""Of one answer; metrics and spans have no room for more."""
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
        self._guard = conversation_guard(service)

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
        with ExitStack() as stack:
            observed = stack.enter_context(self._observation(request, body))
            with self._service.budget():
                cleaned = await self._guard.aclean(body, dialect)
            observed.guarded(cleaned.verdicts)
            report = {**cleaned.to_json(), "calibration": CALIBRATION}
            if cleaned.blocked and path == f"/{_ENDPOINTS[dialect.name]}":
                return self._blocked(body, cleaned, dialect, report)
            content = await _encoded(cleaned.body)
            response = await self._send(request, dialect, "POST", path, content)
            headers = {**response_headers(response.headers), **report_headers(report)}
            if _is_stream(response):
                stack.pop_all()  # the stream ends the observation
                return PassedStream(response, dialect, headers, observed)
            answer = await self._answer(response, headers)
            if response.is_success:
                observed.passed(answer.get("id"), answer.get("model"), _usage(answer))
                answer = {**answer, "guardalign": report}
            return PassedJSON(answer, response.status_code, headers)

    async def look(self, request: Request, dialect: Dialect, path: str) -> Response:
        """Let the upstream answer a request without a body."""
        response = await self._send(request, dialect, "GET", path, None)
        headers = response_headers(response.headers)
        return PassedJSON(await self._answer(response, headers), response.status_code, headers)

    def _observation(self, request: Request, body: Mapping[str, Any]) -> Observation:
        model = body.get("model")
        attributes = {
            "gen_ai.request.model": model if isinstance(model, str) else None,
            "gen_ai.request.stream": body.get("stream") is True,
        }
        return Observation(self._service.metrics, "chat", attributes, request.headers)

    def _blocked(
        self,
        body: Mapping[str, Any],
        cleaned: CleanedConversation,
        dialect: Dialect,
        report: dict[str, Any],
    ) -> Response:
        text = self._service.guard.config.blocked_reply
        answer = BlockedAnswer(text, body, dialect, cleaned.blocked, report)
        headers = report_headers(report)
        if body.get("stream") is not True:
            return JSONResponse(answer.whole(), headers=headers)
        return EventStream(_each(answer.events()), headers)

    async def _send(
        self, request: Request, dialect: Dialect, method: str, path: str, content: bytes | None
    ) -> httpx.Response:
        options = self._service.options
        headers = request_headers(
            request.headers.items(),
            dialect,
            options.upstream_key,
            own_account=options.api_key is None,
        )
        return await self._upstream.open(
            method, path, headers, params=_parameters(request), content=content
        )

    async def _answer(self, response: httpx.Response, headers: dict[str, str]) -> dict[str, Any]:
        """The JSON of an answer that a client can use.

        Raises:
            ApiError: there is none.
        """
        try:
            answer = _json(await response.aread())
        except httpx.DecodingError:
            answer = None  # like what is no JSON, so that an error keeps its status
        except FAILURES as error:
            raise failure(error) from error
        finally:
            await response.aclose()
        own_key = self._service.options.upstream_key is not None
        refused = refusal(response, answer, own_key=own_key)
        if refused is not None:
            refused.headers = {**headers, **(refused.headers or {})}
            raise refused
        usable: dict[str, Any] = answer
        return usable


class PassedJSON(JSONResponse):
    """The upstream's answer; half of a surrogate pair in it stays an escape."""

    def render(self, content: Any) -> bytes:
        """The JSON."""
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        # UTF-8 has nothing else that it refuses, and Python's escape of it is that of JSON.
        return text.encode(errors="backslashreplace")


class PassedStream(EventStream):
    """The upstream's events, to the byte and as they come.

    Args:
        upstream: the response; closed at the end, also when the client leaves.
        dialect: how a failure in the middle is told.
        headers: of the response.
        observed: ends with the stream.
    """

    def __init__(
        self,
        upstream: httpx.Response,
        dialect: Dialect,
        headers: dict[str, str],
        observed: Observation,
    ) -> None:
        self._upstream = upstream
        self._observed = observed
        self._dialect = dialect
        kept = {
            name: upstream.headers[name]
            for name in ("content-type", "content-encoding")
            if name in upstream.headers
        }
        super().__init__(self._pieces(), {**headers, **kept}, upstream.status_code)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the pieces."""
        with self._observed:
            try:
                await super().__call__(scope, receive, send)
            finally:
                await self._upstream.aclose()

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            async for piece in self._upstream.aiter_raw():
                self._observed.spoke()
                yield piece
        except FAILURES as error:
            self._observed.failed(error)
            # Without the last event, so that no client takes it for a complete answer.
            # The piece before may have been cut anywhere.
            yield b"".join([b"\n\n", *writer_of(self._dialect, "").error(failure(error))])


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


def _usage(answer: Mapping[str, Any]) -> Usage | None:
    """The token counts by OpenAI's older names, or those that Anthropic has, too."""
    counts = answer.get("usage")
    if not isinstance(counts, dict):
        return None
    names = (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))
    found = [counts.get(old, counts.get(new)) for old, new in names]
    whole = [count for count in found if isinstance(count, int) and 0 <= count < _MOST_TOKENS]
    return Usage(*whole) if len(whole) == len(found) else None


def _json(data: bytes) -> Any:
    try:
        return passing_value(data, max_depth=_MAX_DEPTH)
    except Malformed:
        return None


async def _encoded(body: Mapping[str, Any]) -> bytes:
    """The body as JSON; a large one in a thread, so that no other stream waits for it."""
    return await asyncio.to_thread(lambda: json.dumps(body, separators=(",", ":")).encode())


async def _each(events: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    for item in events:
        yield item
