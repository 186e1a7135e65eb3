"""What passes through the proxy for HTTP, and what it refuses."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from guardalign_middleware.errors import ConfigError, DetectionError
from guardalign_middleware.mcp import MessageGuard
from guardalign_middleware.mcp import app as proxy_app
from guardalign_middleware.mcp.app import create_app
from guardalign_middleware.mcp.upstream import Upstream
from guardalign_middleware.testing import has_red, picture, png, red_guard
from tests.mcp.positions import FROM_CLIENTS, asked, b64, image, tool
from tests.support.mcp_frames import line, pictures_in

UNSAFE = png(picture(red=True))
PING = b'{"jsonrpc": "2.0",  "id": 1, "method": "ping"}'
URL = "https://mcp.example/mcp"
Answer = Callable[[httpx.Request], httpx.Response]


class Behind:
    """A proxy in this process; what it asked, and how the server behind answers."""

    def __init__(
        self,
        answer: Answer,
        url: str = URL,
        guard: MessageGuard | None = None,
        *,
        local: bool = True,
    ) -> None:
        self.asked: list[httpx.Request] = []
        self._answer = answer
        upstream = Upstream(url, httpx.MockTransport(self._handle))
        self._app = create_app(guard or MessageGuard.of(red_guard()), upstream, local=local)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self._answer(request)

    async def ask(self, method: str = "POST", **options: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, options.pop("path", "/mcp"), **options)


def says(content: bytes, kind: str = "application/json", **headers: str) -> Answer:
    named = {"content-type": kind, **{key.replace("_", "-"): v for key, v in headers.items()}}
    return lambda _: httpx.Response(200, content=content, headers=named)


async def test_bodies_pass_to_the_byte() -> None:
    answer = b'{"jsonrpc": "2.0", "id": 1, "result": { } }\n'
    behind = Behind(says(answer))
    response = await behind.ask(content=PING)
    assert response.content == answer
    assert behind.asked[0].content == PING
    assert response.headers["content-length"] == str(len(answer))


async def test_headers_of_sessions_and_keys_pass(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "guardalign_middleware")
    sent = {
        "authorization": "Bearer canary",
        "mcp-session-id": "s",
        "mcp-protocol-version": "2025-11-25",
        "last-event-id": "9",
        "x-own": "1",
        "accept": "text/event-stream",
    }
    behind = Behind(says(b": hello\n\n", "text/event-stream", mcp_session_id="t", x_own="2"))
    response = await behind.ask("GET", headers={**sent, "connection": "x-mine", "x-mine": "1"})
    (request,) = behind.asked
    assert {name: request.headers[name] for name in sent} == sent
    assert request.headers["host"] == "mcp.example"
    assert "x-mine" not in request.headers
    assert (response.headers["mcp-session-id"], response.headers["x-own"]) == ("t", "2")
    assert response.content == b": hello\n\n"
    assert "canary" not in caplog.text


async def test_a_session_is_deleted() -> None:
    behind = Behind(lambda _: httpx.Response(204))
    response = await behind.ask("DELETE", headers={"mcp-session-id": "s"})
    assert (response.status_code, response.content) == (204, b"")
    assert behind.asked[0].method == "DELETE"
    assert behind.asked[0].headers["mcp-session-id"] == "s"


@pytest.mark.parametrize("status", [202, 401, 404, 500])
async def test_the_status_passes(status: int) -> None:
    headers = {"www-authenticate": 'Bearer resource_metadata="https://mcp.example/x"'}
    behind = Behind(lambda _: httpx.Response(status, content=b"words", headers=headers))
    response = await behind.ask(content=PING)
    assert (response.status_code, response.content) == (status, b"words")
    assert response.headers["www-authenticate"] == headers["www-authenticate"]


async def test_the_query_of_the_address_is_kept() -> None:
    behind = Behind(says(b"{}"), f"{URL}?key=a")
    await behind.ask(path="/mcp?b=2", content=PING)
    assert dict(behind.asked[0].url.params) == {"key": "a", "b": "2"}


async def test_only_the_endpoint_is_there() -> None:
    behind = Behind(says(b"{}"))
    assert (await behind.ask(path="/other")).status_code == 404
    assert (await behind.ask("PUT", content=PING)).status_code == 405
    assert behind.asked == []


async def test_pictures_in_json_are_cleaned_also_if_it_is_compressed() -> None:
    body = gzip.compress(line(tool(image(UNSAFE))))
    response = await Behind(says(body, content_encoding="gzip")).ask(content=PING)
    assert "content-encoding" not in response.headers
    assert not any(map(has_red, pictures_in(response.json())))


async def test_events_pass_to_the_byte_but_for_pictures() -> None:
    kept = (
        b': ping\r\n\r\nid: 1\r\nevent: message\r\ndata: {"method":  "a"}\r\n\r\nid: 2\ndata:\n\n'
    )
    shot = b"id: 3\r\ndata: " + json.dumps(tool(image(UNSAFE))).encode() + b"\r\n\r\n"
    response = await Behind(says(kept + shot + kept, "text/event-stream")).ask(content=PING)
    assert response.content.startswith(kept)
    assert response.content.endswith(kept)
    changed = response.content[len(kept) : -len(kept)]
    assert changed.startswith(b"id: 3\ndata: {")
    assert not any(map(has_red, pictures_in(json.loads(changed.split(b"data: ")[1]))))


async def test_an_event_without_end_is_cleaned() -> None:
    shot = b"data: " + json.dumps(tool(image(UNSAFE))).encode()
    response = await Behind(says(shot, "text/event-stream")).ask(content=PING)
    assert b64(UNSAFE).encode() not in response.content


@pytest.mark.parametrize("status", [301, 307])
async def test_a_redirect_leads_past_the_guard(status: int) -> None:
    headers = {"location": "https://mcp.example/mcp/"}
    response = await Behind(lambda _: httpx.Response(status, headers=headers)).ask(content=PING)
    assert response.status_code == 502
    assert "location" not in response.headers


async def test_the_older_transport_leads_past_the_guard() -> None:
    events = b"event: endpoint\ndata: https://mcp.example/messages\n\n"
    response = await Behind(says(events, "text/event-stream")).ask("GET")
    assert b"mcp.example" not in response.content


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32-be"])
async def test_pictures_in_another_encoding_are_cleaned(encoding: str) -> None:
    body = json.dumps(tool(image(UNSAFE))).encode(encoding)
    response = await Behind(says(body)).ask(content=PING)
    assert response.status_code == 200
    assert not any(map(has_red, pictures_in(json.loads(response.content))))
    said = json.dumps(FROM_CLIENTS["CreateMessageResult: ImageContent"](UNSAFE)).encode(encoding)
    behind = Behind(lambda _: httpx.Response(202))
    await behind.ask(content=said)
    assert not any(map(has_red, pictures_in(json.loads(behind.asked[0].content))))


@pytest.mark.parametrize(
    "charset",
    [
        "charset=utf-7",
        "charset=UTF-16",
        "charset = 'cp037'",
        'charset="utf-8"; charset=utf-7',
        "charset*=utf-8''utf-7",
        "charset=no-such",
        "charset=",
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", "text/plain"])
async def test_an_answer_in_a_charset_that_is_read_otherwise_is_refused(
    kind: str, charset: str
) -> None:
    behind = Behind(says(b"+AHs-canary", f"{kind}; {charset}"))
    response = await behind.ask(content=PING)
    assert response.status_code == 502
    assert b"canary" not in response.content
    headers = {"content-type": f"{kind}; {charset}"}
    assert (await behind.ask(content=PING, headers=headers)).status_code == 415
    assert len(behind.asked) == 1


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", '"utf-8"', "us-ascii", "ISO-8859-1"])
async def test_charsets_in_which_base64_is_the_same_pass(charset: str) -> None:
    kind = f"application/json;charset={charset}"
    behind = Behind(says(b'{"id": 1}', kind))
    response = await behind.ask(content=PING, headers={"content-type": kind})
    assert (response.status_code, response.content) == (200, b'{"id": 1}')
    assert response.headers["content-type"] == kind


@pytest.mark.parametrize("body", [UNSAFE, b64(UNSAFE).encode(), b'{"id": 1'])
async def test_what_is_no_message_is_refused_if_it_could_be_a_picture(body: bytes) -> None:
    response = await Behind(says(body, "text/plain")).ask(content=PING)
    assert response.status_code == 502
    assert body not in response.content


async def test_a_server_that_cannot_be_reached() -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("canary")

    response = await Behind(fail).ask(content=PING)
    assert response.status_code == 502
    assert response.json()["error"]["message"] == "The MCP server failed: ConnectError."


async def test_a_body_that_no_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_app, "LONGEST_LINE", 9)
    behind = Behind(says(b"{}"))
    assert (await behind.ask(content=PING)).status_code == 413
    assert behind.asked == []
    assert (await Behind(says(b"1234567890")).ask("GET")).status_code == 502


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"host": "evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"host": "["},
        {"host": "[", "origin": "http://["},
    ],
)
async def test_web_pages_may_not_ask(headers: dict[str, str]) -> None:
    behind = Behind(says(b"{}"))
    assert (await behind.ask(content=PING, headers=headers)).status_code == 403
    assert behind.asked == []
    if "origin" in headers:
        behind = Behind(says(b"{}"), local=False)
        assert (await behind.ask(content=PING, headers=headers)).status_code == 403
        assert behind.asked == []


async def test_what_the_clients_model_has_said_is_cleaned() -> None:
    behind = Behind(lambda _: httpx.Response(202))
    await behind.ask(content=line(FROM_CLIENTS["CreateMessageResult: ImageContent"](UNSAFE)))
    assert not any(map(has_red, pictures_in(json.loads(behind.asked[0].content))))


async def test_a_request_that_goes_no_further_is_answered_in_the_session() -> None:
    guard = red_guard()

    def fail(*_: Any, **__: Any) -> Any:
        raise DetectionError("no numbers", stage="encode")

    guard.sanitize_many = fail  # type: ignore[method-assign]
    event = b"id: 4\ndata: " + json.dumps(asked(image(UNSAFE))).encode() + b"\n\n"
    behind = Behind(says(event, "text/event-stream"), guard=MessageGuard.of(guard))
    headers = {"authorization": "Bearer a", "mcp-session-id": "s", "x-own": "1"}
    response = await behind.ask("GET", headers=headers)
    assert response.content == b": withheld\nid: 4\n\n"
    _, reply = behind.asked
    assert json.loads(reply.content)["id"] == 8
    assert (reply.headers["authorization"], reply.headers["mcp-session-id"]) == ("Bearer a", "s")
    assert "x-own" not in reply.headers


@pytest.mark.parametrize(
    "url",
    ["mcp.example", "ftp://mcp.example", "https://", "https://a:b@mcp.example", "http://a:port"],
)
def test_a_wrong_address(url: str) -> None:
    with pytest.raises(ConfigError, match="--url should"):
        Upstream(url)
