"""What no upstream should send is a typed error or passes as it came, and never a fault of ours."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import red_guard
from tests.support.gated import until
from tests.support.serving import AUTHORIZED, KEY, served
from tests.support.upstream import Raw, saying

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

JSON = "Content-Type: application/json"
EVENTS = "Content-Type: text/event-stream"
QUESTION = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def raw() -> Raw:
    return Raw()


@pytest.fixture(scope="module")
def client(raw: Raw) -> Iterator[httpx.Client]:
    with saying(raw) as upstream:
        options = ServeOptions(ServeConfig(upstream=upstream), api_key=KEY)
        with (
            served(create_app(red_guard(), options)) as url,
            httpx.Client(base_url=url, headers=AUTHORIZED, timeout=30) as made,
        ):
            yield made


def ask(client: httpx.Client, **more: Any) -> httpx.Response:
    return client.post("/v1/chat/completions", json={**QUESTION, **more})


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "gzip, deflate"])
def test_an_encoding_that_is_none(client: httpx.Client, raw: Raw, encoding: str) -> None:
    raw.says(b'{"id": "secret"}', JSON, f"Content-Encoding: {encoding}")
    for answer in (ask(client), ask(client, stream=True), client.get("/v1/models")):
        assert code_of(answer) == (502, "upstream_failed")
        assert "secret" not in answer.text


def test_an_error_in_a_broken_encoding_keeps_its_status(client: httpx.Client, raw: Raw) -> None:
    raw.says(b"{}", JSON, "Content-Encoding: gzip", "Retry-After: 7", status=429)
    answer = ask(client)
    assert code_of(answer) == (429, "upstream")
    assert answer.headers["retry-after"] == "7"


def test_an_encoding_passes(client: httpx.Client, raw: Raw) -> None:
    raw.says(gzip.compress(b'{"id": "1"}'), JSON, "Content-Encoding: gzip")
    assert ask(client).json()["id"] == "1"


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://1.2.3.999/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /%b\r\nContent-Length: 0\r\n\r\n" % (b"a" * 65_530),
        b"HTTP/1.1 999 Denied\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 600 Odd\r\nContent-Length: 5\r\n\r\n<odd>",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n{}",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_answers_that_are_no_http(client: httpx.Client, raw: Raw, reply: bytes) -> None:
    raw.reply = reply
    for answer in (ask(client), client.get("/v1/models")):
        assert code_of(answer) == (502, "upstream_failed")


@pytest.mark.parametrize("path", ["/v1/models/", "/v1/models?limit="])
def test_an_address_that_grows_too_long(client: httpx.Client, path: str) -> None:
    # Bytes that are no UTF-8 take three times the room when they are escaped again.
    assert code_of(client.get(path + "%FF" * 8_000)) == (400, "invalid_value")


@pytest.mark.parametrize("head", [EVENTS, f"{EVENTS}\r\nTransfer-Encoding: chunked"])
def test_a_stream_that_breaks_off(client: httpx.Client, raw: Raw, head: str) -> None:
    size = "" if "chunked" in head else "Content-Length: 99\r\n"
    raw.reply = f"HTTP/1.1 200 OK\r\n{head}\r\n{size}\r\n4\r\nda\r\nno size\r\n".encode()
    answer = ask(client, stream=True)
    assert answer.status_code == 200
    assert '"code":"upstream_failed"' in answer.text
    assert "[DONE]" not in answer.text


@pytest.mark.parametrize(
    "value",
    [
        *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000),
        *("[" * 300 + "]" * 300, '{"a":' * 950 + "1" + "}" * 950, '"\udcff"'),
    ],
)
def test_values_that_json_has_not(client: httpx.Client, raw: Raw, value: str) -> None:
    raw.says(b'{"id": "1", "a": ' + value.encode(errors="surrogateescape") + b"}", JSON)
    for answer in (ask(client), client.get("/v1/models")):
        assert code_of(answer) == (502, "upstream_failed")


@pytest.mark.parametrize(
    "text",
    [
        *(r'"\ud83d"', r'"\udc00\ud800"', r'"\u0000"', r'"\ud83d\ude00"', r'"\\ud83d"'),
        *('"\u00e9\U0001f600"', "1.5e-7", "[" * 254 + "]" * 254),
    ],
)
def test_values_that_only_some_readers_take_pass(client: httpx.Client, raw: Raw, text: str) -> None:
    body = f'{{"id": {text}, "model": {text}, "usage": null, "a": {{"{chr(92)}ud83d": {text}}}}}'
    for status in (200, 400):
        raw.says(body.encode(), JSON, status=status)
        answer = ask(client)
        assert answer.status_code == status
        answer.content.decode()  # UTF-8
        got = json.loads(answer.content)
        got.pop("guardalign", None)
        assert got == json.loads(body)


def test_a_mark_before_the_answer_is_no_part_of_it(client: httpx.Client, raw: Raw) -> None:
    raw.says(b'\xef\xbb\xbf{"id": "1"}', JSON)
    assert ask(client).json()["id"] == "1"


@pytest.mark.parametrize("count", ["1" + "0" * 400, "-1", '"3"', "1.5", "null"])
def test_counts_that_are_none_are_not_counted(client: httpx.Client, raw: Raw, count: str) -> None:
    body = f'{{"usage": {{"prompt_tokens": {count}, "completion_tokens": 2}}}}'
    raw.says(body.encode(), JSON)
    answer = ask(client)
    assert answer.status_code == 200
    assert answer.json()["usage"] == json.loads(body)["usage"]


def test_a_span_can_be_written_whatever_the_model_is_called(
    client: httpx.Client, raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    raw.says(b'{"id": 1, "model": "m\\ud83d"}', JSON)
    assert ask(client).json()["model"] == "m\ud83d"
    until(lambda: exporter.get_finished_spans() != ())
    (span,) = exporter.get_finished_spans()
    assert (span.attributes or {})["gen_ai.response.model"] == "m?"


def test_events_pass_whatever_they_hold(client: httpx.Client, raw: Raw) -> None:
    events = b'data: {"a": NaN, "b": "\\ud800"}\n\ndata: \xff\n\n'
    raw.says(events, EVENTS)
    answer = ask(client, stream=True)
    assert (answer.status_code, answer.content) == (200, events)


@pytest.mark.parametrize("kind", [JSON, EVENTS])
def test_headers_of_any_bytes_pass(client: httpx.Client, raw: Raw, kind: str) -> None:
    name = "\u65e5\u672c"
    raw.says(b'{"id": "1"}', f"{kind}; charset={name}", f"openai-organization: {name}")
    answer = client.post(
        "/v1/chat/completions", json=QUESTION, headers={b"user-agent": name.encode()}
    )
    assert answer.status_code == 200
    assert (b"openai-organization", name.encode()) in answer.headers.raw
