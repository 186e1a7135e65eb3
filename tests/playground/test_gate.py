"""The page is for the holder of the key, or for this machine, whatever a browser sends."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.playground.gate import COOKIE, Gate
from guardalign_middleware.serving import ServeOptions, Service
from guardalign_middleware.testing import red_chain
from tests.support.serving import AUTHORIZED, KEY

LOCAL = "http://127.0.0.1"


async def page(request: Any) -> PlainTextResponse:
    return PlainTextResponse(f"page {len(await request.body())}")


async def live(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


def gated(key: str | None = None, **limits: Any) -> tuple[TestClient, Service]:
    service = Service.of(red_chain(), ServeOptions(ServeConfig(**limits), api_key=key))
    pages = Starlette(
        routes=[
            Route("/playground/", page, methods=["GET", "POST"]),
            WebSocketRoute("/playground/live", live),
        ]
    )
    rest = Starlette(routes=[Route("/health", lambda _: PlainTextResponse("rest"))])
    return TestClient(Gate(rest, pages, service), LOCAL, follow_redirects=False), service


def hears(client: TestClient, **headers: str) -> str:
    with client.websocket_connect(
        "/playground/live", headers={"host": "127.0.0.1", **headers}
    ) as socket:
        return socket.receive_text()


def cookie_of(client: TestClient) -> str:
    (kept,) = client.cookies.jar
    return f"{kept.name}={kept.value}"


def test_without_a_key_this_machine_sees_the_page_and_other_pages_do_not() -> None:
    client, _ = gated()
    shown = client.get("/playground/")
    assert shown.text == "page 0"
    assert "frame-ancestors 'none'" in shown.headers["content-security-policy"]
    assert shown.headers["cache-control"] == "no-store"
    assert hears(client, origin=LOCAL) == "hello"
    for header in ({"host": "evil.example"}, {"origin": "https://evil.example"}):
        assert client.get("/playground/", headers=header).status_code == 403
        with pytest.raises(WebSocketDisconnect):
            hears(client, **header)


def test_everything_else_is_the_servers_own() -> None:
    client, _ = gated(KEY)
    assert client.get("/health").text == "rest"
    assert client.get("/playgrounds").status_code == 404


def test_with_a_key_the_page_asks_for_it_once() -> None:
    client, _ = gated(KEY)
    asked = client.get("/playground/")
    assert (asked.status_code, "<form" in asked.text) == (401, True)
    assert client.get("/playground/script.js").json()["error"]["code"] == "invalid_api_key"
    with pytest.raises(WebSocketDisconnect):
        hears(client)
    wrong = client.post("/playground/sign-in", data={"key": "w" * 32})
    assert (wrong.status_code, wrong.cookies) == (401, {})
    signed = client.post("/playground/sign-in", data={"key": KEY}, headers={"origin": LOCAL})
    assert signed.status_code == 303
    cookie = signed.headers["set-cookie"]
    assert KEY not in cookie
    for word in ("HttpOnly", "SameSite=strict", "Path=/playground"):
        assert word in cookie
    assert client.get("/playground/").text == "page 0"
    assert hears(client, origin=LOCAL, cookie=cookie_of(client)) == "hello"


def test_another_site_cannot_use_the_cookie_or_sign_in() -> None:
    client, _ = gated(KEY)
    client.post("/playground/sign-in", data={"key": KEY})
    evil = {"origin": "https://evil.example"}
    assert client.get("/playground/", headers=evil).status_code == 403
    with pytest.raises(WebSocketDisconnect):
        hears(client, **evil, cookie=cookie_of(client))
    other, _ = gated(KEY)
    assert other.post("/playground/sign-in", data={"key": KEY}, headers=evil).status_code == 401


@pytest.mark.parametrize("value", ["", "9999999999", "9999999999.", "9999999999.ab", "²", "x.y"])
def test_cookies_that_this_process_did_not_sign_open_nothing(value: str) -> None:
    client, _ = gated(KEY)
    headers = {"cookie": f"{COOKIE}={value}".encode()}
    assert client.get("/playground/", headers=headers).status_code == 401


def test_an_old_cookie_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = gated(KEY)
    client.post("/playground/sign-in", data={"key": KEY})
    cookie = cookie_of(client)
    fresh, _ = gated(KEY)
    assert client.get("/playground/", headers={"cookie": cookie}).status_code == 200
    assert fresh.get("/playground/", headers={"cookie": cookie}).status_code == 401
    monkeypatch.setattr("time.time", lambda: 10.0**10)
    assert client.get("/playground/", headers={"cookie": cookie}).status_code == 401


def test_the_key_itself_opens_the_page_too() -> None:
    client, _ = gated(KEY)
    assert client.get("/playground/", headers=AUTHORIZED).text == "page 0"


def test_the_limits_are_those_of_the_server() -> None:
    client, service = gated(max_body_bytes=100)
    assert client.post("/playground/", content=b"x" * 100).text == "page 100"
    assert client.post("/playground/", content=b"x" * 101).status_code == 413
    locked, _ = gated(KEY, max_body_bytes=10)
    assert locked.post("/playground/sign-in", data={"key": KEY}).status_code == 413
    service.admission.drain()
    with pytest.raises(WebSocketDisconnect):
        hears(client)
