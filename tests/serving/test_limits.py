"""Keys, limits and errors of the app, whatever its routes do."""

import asyncio
import hmac
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from pydantic import BaseModel

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.errors import (
    ConfigError,
    GuardAlignError,
    GuardError,
    ImageRejected,
    OutOfMemory,
    Overloaded,
)
from guardalign_middleware.serving import ServeOptions, Service, auth, create_app
from guardalign_middleware.serving.routes import strict_router
from guardalign_middleware.testing import red_guard

KEY = "a-key-of-sixteen-characters"


class Echo(BaseModel):
    text: str


def router(service: Service) -> APIRouter:
    made = strict_router()

    @made.post("/v1/echo")
    async def echo(body: Echo) -> Echo:
        if body.text == "wait":
            await asyncio.sleep(600)
        if body.text == "fault":
            raise ValueError("secret")
        if body.text in FAULTS:
            raise FAULTS[body.text]
        return body

    return made


FAULTS: dict[str, GuardAlignError] = {
    "image": ImageRejected("Bad.", reason="corrupt", source="messages[0]"),
    "full": Overloaded("Full.", stage="generation"),
    "memory": OutOfMemory("No memory.", stage="generation"),
    "guard": GuardError("Broken.", stage="encode"),
}


def client(key: str | None = None, **limits: Any) -> httpx.AsyncClient:
    options = ServeOptions(ServeConfig(**limits), api_key=key)
    app = create_app(red_guard(), options, routers=[router])
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1:8000"
    )


async def post(to: httpx.AsyncClient, text: str = "hi", **more: Any) -> httpx.Response:
    return await to.post("/v1/echo", json={"text": text}, **more)


async def test_a_request_is_answered() -> None:
    async with client() as to:
        assert (await post(to)).json() == {"text": "hi"}
        assert (await to.get("/health")).json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"authorization": f"bearer  {KEY} "}, 200),
        ({"x-api-key": KEY}, 200),
        ({"Authorization": f"Bearer {KEY[:-1]}"}, 401),
        ({"Authorization": f"Bearer {KEY}x"}, 401),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"Authorization": KEY}, 401),
        ({"Authorization": "Bearer schl\u00fcssel"}, 401),
        ({"Authorization": f"Bearer {KEY}", "x-api-key": "another"}, 401),
    ],
)
async def test_only_the_holder_of_the_key_is_answered(headers: dict[str, str], status: int) -> None:
    async with client(KEY, host="0.0.0.0") as to:
        sent = {name: value.encode("utf-8") for name, value in headers.items()}
        answer = await post(to, headers=sent)
        assert answer.status_code == status
        if status == 401:
            assert answer.json()["error"]["code"] == "invalid_api_key"
            assert answer.headers["www-authenticate"] == "Bearer"
        assert (await to.get("/health")).status_code == 200
        assert (await to.get("/openapi.json")).status_code == 401


def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    whole = hmac.compare_digest

    def noted(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return whole(one, other)

    monkeypatch.setattr(auth.hmac, "compare_digest", noted)
    check = auth.KeyCheck(ServeOptions(api_key=KEY))
    given = [b"", b"a", KEY.encode(), KEY.encode() * 99, b"Basic x"]
    held = [check.holds_key([(b"x-api-key", key)]) for key in given]
    assert held == [False, False, True, False, False]
    # Every key, whatever its length, is compared as a whole and at one length.
    assert compared == [(32, 32)] * len(given)
    # The first wrong one does not end the comparison either.
    assert not check.holds_key([(b"x-api-key", b"a"), (b"x-api-key", KEY.encode())])
    assert compared == [(32, 32)] * (len(given) + 2)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Host": "["},
        {"Host": "[zz]"},
        {"Origin": "http://["},
    ],
)
async def test_without_a_key_no_page_of_another_host_is_answered(headers: dict[str, str]) -> None:
    async with client() as to:
        answer = await post(to, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "host_not_allowed")
    async with client(KEY) as to:
        allowed = await post(to, headers={**headers, "x-api-key": KEY})
        assert allowed.status_code == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"text": "a", "text": "b"}', "invalid_json"),
        (b'{"text": NaN}', "invalid_json"),
        (b'{"text": "\\u0000"}', "invalid_json"),
        (b'{"text": "a"} {"text": "b"}', "invalid_json"),
        (b'\xff\xfe{"text": "a"}', "invalid_json"),
        (b"[" * 1000 + b"]" * 1000, "invalid_json"),
        (b'{"text": 3}', "invalid_value"),
        (b"{}", "missing_required_parameter"),
        (b"", "missing_required_parameter"),
    ],
)
async def test_json_has_one_meaning_or_is_refused(body: bytes, code: str) -> None:
    async with client() as to:
        headers = {"Content-Type": "application/json"}
        answer = await to.post("/v1/echo", content=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_without_end_is_given_up_at_twice_its_limit(chunked: bool) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while read < 10_000:
            read += 100
            yield b" " * 100

    async with client(max_body_bytes=1000) as to:
        headers = {"Content-Type": "application/json"}
        content = endless() if chunked else b" " * 1001
        answer = await to.post("/v1/echo", content=content, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert read <= 2200


async def test_a_body_that_does_not_arrive_is_given_up() -> None:
    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(600)

    async with client(body_seconds=0.05) as to:
        headers = {"Content-Type": "application/json"}
        answer = await to.post("/v1/echo", content=never(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (408, "body_timeout")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Length": "2", "Transfer-Encoding": "chunked"}, 400),
        ({"Content-Length": "two"}, 400),
        ({"Content-Length": "-2"}, 400),
        ({"Content-Length": "9" * 5000}, 400),
    ],
)
async def test_a_body_with_two_readings_is_refused(headers: dict[str, str], status: int) -> None:
    async with client() as to:
        assert (await to.post("/v1/echo", content=b"{}", headers=headers)).status_code == status


async def test_beyond_the_limit_requests_are_refused_and_places_are_given_back() -> None:
    async with client(max_requests=2, retry_after_seconds=7) as to:
        waiting = [asyncio.ensure_future(post(to, "wait")) for _ in range(2)]
        await asyncio.sleep(0.05)
        refused = await post(to)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
        assert refused.headers["retry-after"] == "7"
        assert (await to.get("/health")).status_code == 200
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
        assert (await post(to)).status_code == 200


async def test_a_server_that_closes_takes_no_more_requests() -> None:
    app = create_app(red_guard(), routers=[router])
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as to:
        app.state.service.admission.drain()
        answer = await post(to)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert (await to.get("/health")).status_code == 200
        app.state.service.admission.give_up("The model is lost.")
        assert (await to.get("/health")).status_code == 503


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("image", 400, "corrupt"),
        ("full", 429, "overloaded"),
        ("memory", 503, "out_of_memory"),
        ("guard", 500, "fault_at_encode"),
        ("fault", 500, "internal_error"),
    ],
)
async def test_every_error_has_the_shape_of_openai(
    text: str, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with client() as to:
        answer = await post(to, text)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert set(error) == {"message", "type", "param", "code"}
    assert ("retry-after" in answer.headers) == (status in {429, 503})
    # What a library says may quote the request.
    assert "secret" not in answer.text + caplog.text


@pytest.mark.parametrize(
    ("method", "path", "status"), [("POST", "/v1/x", 404), ("GET", "/v1/echo", 405)]
)
async def test_what_is_not_there_is_an_error_too(method: str, path: str, status: int) -> None:
    async with client() as to:
        answer = await to.request(method, path)
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("config", "environment", "message"),
    [
        ({"host": "0.0.0.0"}, {}, "can be reached from outside"),
        ({"host": "example.com"}, {}, "can be reached from outside"),
        ({"host": "::"}, {}, "can be reached from outside"),
        ({"api_key_env": "KEY"}, {}, "KEY should hold a key"),
        ({"api_key_env": "KEY"}, {"KEY": " "}, "KEY should hold a key"),
        ({"api_key_env": "KEY"}, {"KEY": "short"}, "at least 16 characters"),
        ({"api_key_env": "KEY"}, {"KEY": "schl\u00fcssel-zum-server"}, "printable ASCII"),
        ({"upstream_key_env": "KEY"}, {"KEY": KEY}, "come with upstream"),
        ({"port": 70_000}, {}, "port"),
    ],
)
def test_options_that_would_expose_the_server_are_refused(
    config: dict[str, Any], environment: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        ServeOptions.read(ServeConfig(), environment, **config)
    assert all(key not in str(caught.value) for key in environment.values() if len(key) > 1)


def test_options_hide_their_keys() -> None:
    options = ServeOptions.read(
        ServeConfig(), {"K": KEY}, host="0.0.0.0", api_key_env="K", port=None
    )
    assert options.config.port == 8000
    assert options.api_key == KEY
    assert KEY not in repr(options)
