"""What passes between clients and the upstream, byte for byte, and what does not."""

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.conversation import Dialect
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.serving.upstream.client import base_url
from guardalign_middleware.testing import all_red, has_red, picture, png, red_guard
from tests.conversation.positions import (
    IDS,
    LOOK,
    POSITIONS,
    WORDS,
    Place,
    ask,
    b64,
    block,
    chat,
    link,
    respond,
    said,
    shot,
    shown,
)
from tests.serving.upstream.conftest import UPSTREAM_KEY
from tests.support.serving import KEY, served
from tests.support.upstream import CALL, Recorded

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

SAFE, UNSAFE, HOPELESS = png(picture()), png(picture(red=True)), png(all_red())
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}
PLAIN: dict[str, dict[str, Any]] = {
    "chat": chat(said("user", LOOK)),
    "responses": respond(WORDS),
    "messages": ask(said("user", LOOK)),
}
EACH = pytest.mark.parametrize("name", PATHS)


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=url, headers=headers, timeout=30) as made:
        yield made


@pytest.mark.parametrize(("dialect", "name", "place"), POSITIONS, ids=IDS)
def test_no_position_leaks_to_the_upstream(
    client: httpx.Client, recorded: Recorded, dialect: Dialect, name: str, place: Place
) -> None:
    answer = client.post(PATHS[dialect.name], json=place(UNSAFE))
    assert answer.status_code == 200
    assert answer.headers["x-guardalign-decision"] == "mask"
    assert b64(UNSAFE) not in json.dumps(recorded.body)
    (seen,) = shown(recorded.body)
    assert not has_red(seen)
    report = answer.json()["guardalign"]
    assert report["verdicts"][0]["decision"] == "mask"
    assert report["calibration"]["state"] == "off"


@EACH
def test_what_holds_no_picture_arrives_as_it_was_sent(
    client: httpx.Client, recorded: Recorded, name: str
) -> None:
    body = {**PLAIN[name], "temperature": 0.1, "metadata": {"a": "\u00e9\U0001f600"}, "seed": None}
    if name != "chat":
        del body["seed"]
    answer = client.post(PATHS[name], json=body)
    assert recorded.requests[-1][0] == PATHS[name]
    assert recorded.body == body
    assert answer.headers["x-guardalign-upstream-request-id"] == "req_1"
    assert "," not in answer.headers["x-request-id"]
    assert answer.headers["x-ratelimit-remaining"] == "7"
    assert answer.headers["x-guardalign-calibration"] == "off"
    assert "set-cookie" not in answer.headers
    assert answer.json()["guardalign"]["decision"] is None


@EACH
def test_a_stream_passes_to_the_byte(client: httpx.Client, recorded: Recorded, name: str) -> None:
    body = {**PLAIN[name], "stream": True}
    with client.stream("POST", PATHS[name], json=body) as answer:
        received = b"".join(answer.iter_raw())
    assert received == recorded.sent
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-guardalign-calibration"] == "off"


@EACH
def test_pieces_come_as_they_are_made(client: httpx.Client, recorded: Recorded, name: str) -> None:
    recorded.go_on = threading.Event()
    with client.stream("POST", PATHS[name], json={**PLAIN[name], "stream": True}) as answer:
        pieces = answer.iter_raw()
        first = next(pieces)
        # The upstream has not sent more, and will not before it is told to.
        assert first == recorded.sent
        recorded.go_on.set()
        rest = b"".join(pieces)
    assert first + rest == recorded.sent


def test_a_client_that_leaves_closes_the_stream(client: httpx.Client, recorded: Recorded) -> None:
    recorded.go_on = threading.Event()
    body = {**PLAIN["chat"], "stream": True}
    with client.stream("POST", PATHS["chat"], json=body) as answer:
        next(answer.iter_raw())
    # The upstream is silent, so only the end of the connection can tell it.
    assert recorded.closed.wait(20)
    recorded.go_on.set()


def test_tool_calls_are_untouched(client: httpx.Client, recorded: Recorded) -> None:
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {}}}
    answer = client.post(PATHS["chat"], json={**PLAIN["chat"], "tools": [tool]})
    assert answer.json()["choices"][0]["message"]["tool_calls"] == [CALL]
    assert recorded.body["tools"] == [tool]


def test_keys_stay_where_they_belong(
    client: httpx.Client, recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sent = {
        "x-api-key": KEY,
        "cookie": "a=b",
        "openai-organization": "org-other",
        "x-forwarded-for": "10.0.0.1",
        "anthropic-version": "2023-06-01",
    }
    for name, path in PATHS.items():
        client.post(path, json=PLAIN[name], headers=sent)
        got = recorded.headers
        assert KEY not in str(got)
        assert not {"cookie", "openai-organization", "x-forwarded-for"} & set(got)
        assert got["anthropic-version"] == "2023-06-01"
        mine = got.get("x-api-key") if name == "messages" else got["authorization"]
        assert mine == (UPSTREAM_KEY if name == "messages" else f"Bearer {UPSTREAM_KEY}")
        assert ("authorization" in got) != ("x-api-key" in got)
    assert UPSTREAM_KEY not in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("api_key", "expected"), [(None, "Bearer sk-mine-of-the-client"), (KEY, None)]
)
def test_without_a_key_for_the_upstream(
    upstream_url: str, recorded: Recorded, api_key: str | None, expected: str | None
) -> None:
    options = ServeOptions(ServeConfig(upstream=upstream_url), api_key=api_key)
    given = {"authorization": f"Bearer {api_key or 'sk-mine-of-the-client'}"}
    with served(create_app(red_guard(), options)) as address:
        answer = httpx.post(f"{address}{PATHS['chat']}", json=PLAIN["chat"], headers=given)
    assert answer.status_code == 200
    assert recorded.headers.get("authorization") == expected


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/embeddings", "/v1/files", "/v1/batches", "/v1/images/edits", "/v1/completions"),
        *("/v1/responses/resp_1", "/v1/messages/batches", "/v1/uploads", "/v1/audio/speech"),
        *("/v1/conversations", "/v1/threads", "/v1/chat/completions/x", "/v1//chat/completions"),
    ],
)
def test_other_endpoints_are_closed(client: httpx.Client, recorded: Recorded, path: str) -> None:
    for method in ("POST", "GET"):
        answer = client.request(method, path, json={"input": "x"})
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"
    if "messages" in path:
        assert (answer.json()["type"], answer.json()["error"]["type"]) == (
            "error",
            "not_found_error",
        )
    assert recorded.requests == []


def test_models_pass(client: httpx.Client, recorded: Recorded) -> None:
    assert client.get("/v1/models").json()["data"][0]["id"] == "m"
    assert client.get("/v1/models/meta%2Fllama").json()["id"] == "meta/llama"
    asked = len(recorded.requests)
    assert client.get("/v1/models/a%2F..%2F..%2Ffiles").status_code == 404
    assert len(recorded.requests) == asked
    assert client.get("/v1/models?drop=table").status_code == 400


@EACH
@pytest.mark.parametrize("stream", [False, True])
def test_a_blocked_picture_is_answered_without_the_upstream(
    client: httpx.Client, recorded: Recorded, name: str, stream: bool
) -> None:
    part = {"chat": link, "responses": shot, "messages": block}[name](HOPELESS)
    body = {**PLAIN[name], "stream": stream}
    key = "input" if name == "responses" else "messages"
    answer = client.post(PATHS[name], json={**body, key: [said("user", part)]})
    assert answer.status_code == 200
    assert answer.headers["x-guardalign-decision"] == "block"
    assert "I cannot help with this image." in answer.text
    assert recorded.requests == []


def test_tokens_are_counted_of_the_cleaned_request(
    client: httpx.Client, recorded: Recorded
) -> None:
    body = ask(said("user", block(HOPELESS)))
    answer = client.post("/v1/messages/count_tokens", json=body)
    assert answer.json()["input_tokens"] == 3
    assert not list(shown(recorded.body))


@EACH
def test_what_cannot_be_looked_at_is_refused_in_the_dialects_shape(
    client: httpx.Client, recorded: Recorded, name: str
) -> None:
    body = {
        "chat": chat(said("user", {"type": "image_url", "image_url": {"url": "https://x/a.png"}})),
        "responses": respond(said("user", {"type": "input_image", "file_id": "file-abc123"})),
        "messages": ask(
            said("user", {"type": "image", "source": {"type": "url", "url": "https://x/a.png"}})
        ),
    }[name]
    answer = client.post(PATHS[name], json=body)
    assert answer.status_code == 400
    error = answer.json()
    assert error["error"]["type"] == "invalid_request_error"
    assert error["error"]["code"] in {"url_not_allowed", "unsupported_type"}
    assert ("type" in error) == (name == "messages")
    assert recorded.requests == []


@pytest.mark.parametrize(
    ("status", "kind", "body", "expected", "code"),
    [
        (400, "application/json", b'{"error": {"message": "Bad."}}', 400, None),
        (429, "application/json", b'{"error": {"message": "Slow."}}', 429, None),
        (529, "application/json", b'{"type": "error", "error": {}}', 529, None),
        (500, "text/html", b"<html>secret</html>", 500, "upstream"),
        (
            401,
            "application/json",
            b'{"error": {"message": "key sk-up***"}}',
            502,
            "upstream_key_refused",
        ),
        (403, "application/json", b"{}", 502, "upstream_key_refused"),
        (302, "text/html", b"", 502, "upstream_failed"),
        (200, "text/html", b"<html>", 502, "upstream_failed"),
        (200, "application/json", b"[1]", 502, "upstream_failed"),
    ],
)
def test_errors_of_the_upstream(
    client: httpx.Client,
    recorded: Recorded,
    status: int,
    kind: str,
    body: bytes,
    expected: int,
    code: str | None,
) -> None:
    recorded.status, recorded.answer, recorded.kind = status, body, kind
    answer = client.post(PATHS["chat"], json=PLAIN["chat"])
    assert answer.status_code == expected
    if code is None:
        assert answer.json() == json.loads(body)
    else:
        assert answer.json()["error"]["code"] == code
        assert "secret" not in answer.text
        assert "sk-" not in answer.text


@pytest.mark.parametrize("name", ["chat", "messages"])
def test_an_upstream_that_is_away_or_silent(
    upstream_url: str, recorded: Recorded, name: str
) -> None:
    away = ServeConfig(upstream="http://127.0.0.1:9/v1")
    with served(create_app(red_guard(), ServeOptions(away))) as address:
        answer = httpx.post(f"{address}{PATHS[name]}", json=PLAIN[name])
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_unreachable"
    assert "127.0.0.1" not in answer.text
    recorded.go_on = threading.Event()
    silent = ServeConfig(upstream=upstream_url, upstream_seconds=0.2)
    with served(create_app(red_guard(), ServeOptions(silent))) as address:
        answer = httpx.post(f"{address}{PATHS[name]}", json={**PLAIN[name], "stream": True})
    recorded.go_on.set()
    # After the first piece, only the stream itself can tell.
    assert "upstream_timeout" in answer.text
    assert "[DONE]" not in answer.text
    assert ("event: error" in answer.text) == (name == "messages")


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("https://api.anthropic.com", "https://api.anthropic.com/v1"),
        ("http://localhost:8001", "http://localhost:8001/v1"),
        ("https://x.example/v1beta/openai/", "https://x.example/v1beta/openai"),
    ],
)
def test_the_address_of_an_upstream(given: str, base: str) -> None:
    assert base_url(given) == base


@pytest.mark.parametrize(
    "given",
    [
        *("api.openai.com", "ftp://x", "https://", "https://user:sk-secret@x", "http://x:99999"),
        *("https://x/v1?key=sk-secret", "file:///etc/passwd", "https://x/#a"),
        *("http://1.2.3.999/v1", "http://\u2603.example", "https://x/\x01"),
    ],
)
def test_a_wrong_address_is_refused_without_quoting_a_key(given: str) -> None:
    with pytest.raises(ConfigError) as caught:
        create_app(red_guard(), ServeOptions(ServeConfig(upstream=given)))
    assert "sk-secret" not in str(caught.value)
