"""Errors of Ray's own proxy reach clients in the shape of OpenAI's."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from guardalign_middleware.scale.proxy import CALLBACK, OpenAIErrors, error_body, middlewares
from guardalign_middleware.serving.errors import ApiError


def proxy(status: int, kind: bytes, *bodies: bytes, headers: tuple[Any, ...] = ()) -> OpenAIErrors:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        start = {"status": status, "headers": [(b"content-type", kind), *headers]}
        await send({"type": "http.response.start", **start})
        for number, body in enumerate(bodies, start=1):
            more = number < len(bodies)
            await send({"type": "http.response.body", "body": body, "more_body": more})

    return OpenAIErrors(app)


async def ask(app: OpenAIErrors, path: str = "/v1/chat/completions") -> httpx.Response:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://guard") as client:
        return await client.post(path)


async def test_a_full_queue_is_a_429_that_clients_try_again() -> None:
    headers = ((b"Retry-After", b"7"), (b"x-request-id", b"1"))
    dropped = b"Request dropped due to backpressure"
    answer = await ask(proxy(429, b"text/plain", dropped[:9], dropped[9:], headers=headers))
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["x-request-id"] == "1"
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["code"] == "overloaded"
    assert "backpressure" not in answer.text


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 418, 429, 500, 502, 503, 504])
async def test_errors_are_those_of_the_server(status: int) -> None:
    ours = ApiError(status, "text", code="code")
    body = (await ask(proxy(status, b"text/plain", b"Traceback: a secret"))).json()
    assert body.keys() == ours.body.keys()
    assert body["error"].keys() == ours.body["error"].keys()
    anthropic = json.loads(error_body(status, "/v1/messages"))
    assert anthropic.keys() == ours.anthropic_body.keys()
    assert body["error"]["type"] == ours.kind
    assert anthropic["error"]["type"] == ours.anthropic_body["error"]["type"]
    assert (body["error"]["code"] == "internal_error") == (status in {500, 502})


async def test_all_else_passes_as_it_is() -> None:
    for kind in (b"text/event-stream", b"application/json"):
        answer = await ask(proxy(200, kind, b"a", b"b"))
        assert (answer.status_code, answer.content) == (200, b"ab")
    own = await ask(proxy(429, b"application/json", b'{"error": 1}'))
    assert own.json() == {"error": 1}
    probe = await ask(proxy(503, b"text/plain", b"unhealthy"), "/-/healthz")
    assert probe.text == "unhealthy"


def test_ray_gets_what_it_asks_for() -> None:
    assert CALLBACK == "guardalign_middleware.scale.proxy:middlewares"
    assert [one.cls for one in middlewares()] == [OpenAIErrors]
