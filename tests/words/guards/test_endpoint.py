from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from guardalign_middleware.errors import ConfigError, GuardError
from guardalign_middleware.words.guards.endpoint import ModerationGuard
from guardalign_middleware.words.guards.guard import TextGuard
from tests.support.servers import Answer, Server, drip, ok

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
KEY = "sk-secret-77"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def result(flagged: bool = False, **scores: float) -> dict[str, Any]:
    names = dict.fromkeys(scores, flagged)
    return {"flagged": flagged, "categories": names, "category_scores": scores}


def answer(*results: Any) -> bytes:
    body = json.dumps({"id": "m", "model": "x", "results": results}).encode()
    return ok(body, "Connection: close")  # as the server does; otherwise it is used again


def guard(server: Server, **options: Any) -> ModerationGuard:
    options = {"timeout_s": 60.0} | options
    return ModerationGuard(f"http://127.0.0.1:{server.port}/v1", **options)


def moderated(answered: Answer, texts: list[str] | None = None, **options: Any) -> Any:
    with Server({"/v1/moderations": answered}) as server:
        return guard(server, **options).assess(texts or ["some words"])


def test_the_largest_score_is_the_category() -> None:
    found = moderated(
        answer(result(violence=0.25, hate=0.125), result(True, violence=0.125, hate=0.25)),
        ["one", "two"],
    )
    assert [(one.category, one.distance) for one in found] == [("violence", 0.75), ("hate", 0.5)]


def test_the_service_gets_key_model_and_texts() -> None:
    with Server({"/v1/moderations": answer(result(hate=0.5))}) as server:
        asked: TextGuard = guard(server, model="omni")
        asked.assess(["some words"])
        (request,) = server.heads
    head, _, body = request.partition("\r\n\r\n")
    assert f"Authorization: Bearer {KEY}".lower() in head.lower()
    assert head.startswith("POST ")
    assert json.loads(body) == {"input": ["some words"], "model": "omni"}


def test_many_texts_are_asked_about_in_parts() -> None:
    asked: list[int] = []

    def reply(connection: socket.socket) -> None:
        count = 32 if not asked else 8
        asked.append(count)
        connection.sendall(answer(*[result(hate=0.5)] * count))

    assert len(moderated(reply, ["words"] * 40)) == 40
    assert asked == [32, 8]


def _hang(connection: socket.socket) -> None:
    connection.recv(1)
    time.sleep(2)


@pytest.mark.parametrize(
    "broken",
    [
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"nonsense\r\n\r\n",
        ok(b"not json"),
        ok(b"\xff\xfe"),
        ok(b"[]"),
        ok(b'{"results": null}'),
        answer(),
        answer(result(hate=0.1), result(hate=0.1)),
        answer({"flagged": False}),
        answer({"flagged": False, "category_scores": {}}),
        answer({"flagged": "no", "category_scores": {"hate": 0.1}}),
        answer({"flagged": False, "category_scores": {"hate": "low"}}),
        answer({"flagged": False, "category_scores": {"hate": 1.5}}),
        ok(b'{"results": [{"flagged": false, "category_scores": {"hate": NaN}}]}'),
        ok(b"{}", length=50),
        ok(b" " * (5 * 2**20)),
    ],
)
def test_what_is_no_moderation_is_a_fault_and_not_safe(broken: Answer) -> None:
    with pytest.raises(GuardError, match="moderation service") as caught:
        moderated(broken)
    assert caught.value.stage == "words"
    assert KEY not in str(caught.value)
    assert "some words" not in str(caught.value)


@pytest.mark.parametrize(
    "slow", [_hang, lambda connection: drip(answer(result(hate=0.1)), 0.2)(connection)]
)
def test_a_slow_service_is_a_fault(slow: Callable[[socket.socket], None]) -> None:
    """Also one that sends its answer, headers first, byte after byte."""
    with pytest.raises(GuardError, match=r"within 0\.5 s|Timeout"):
        moderated(slow, timeout_s=0.5)


def test_no_service_is_a_fault() -> None:
    with Server({}) as server:
        port = server.port
    asked = ModerationGuard(f"http://127.0.0.1:{port}/v1", timeout_s=5.0)
    with pytest.raises(GuardError, match="ConnectError"):
        asked.assess(["some words"])


@pytest.mark.parametrize(
    ("url", "options", "cause"),
    [
        ("ftp://x.example", {}, "not the URL"),
        ("moderation", {}, "not the URL"),
        ("http://x.example/v1", {}, "without encryption"),
        ("https://x.example/v1", {"key_variable": "NO_SUCH_KEY"}, "not set"),
        ("https://x.example/v1", {"timeout_s": 0.0}, "timeout_s"),
    ],
)
def test_a_wrong_setup_is_named(url: str, options: dict[str, Any], cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        ModerationGuard(url, **options)


def test_a_service_without_a_key_may_speak_http() -> None:
    first = ModerationGuard("http://inside.example/v1", key_variable=None)
    second = ModerationGuard("http://inside.example/v1", key_variable=None, model="other")
    assert first.fingerprint != second.fingerprint
