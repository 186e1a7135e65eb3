"""What a guard's client does when the guard does not answer as it should."""

import json
import logging
import socket
import ssl
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware import (
    ConfigError,
    GuardAlignError,
    ImageRejected,
    Overloaded,
    RemoteImageGuard,
    Unreachable,
)
from guardalign_middleware.remote import connection
from guardalign_middleware.testing import red_config
from guardalign_middleware.wire import Failure, GuardDescription
from tests.support.remote import KEY, loopback
from tests.support.servers import Answer, Server, drip, make_certificate, ok, redirect

pytestmark = loopback
LIMITS = {
    "max_body_bytes": 10**6,
    "max_images": 2,
    "max_pixels": 10**6,
    "max_text_characters": 1000,
}
DESCRIPTION = GuardDescription.of(red_config(), "0" * 64, **LIMITS).model_dump_json().encode()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(connection, "sleep", waits.append)
    return waits


def refusal(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status} No", f"Content-Length: {len(body)}", "Connection: close")
    return "\r\n".join((*lines, *headers, "", "")).encode() + body


def asked(answer: Answer, **options: Any) -> tuple[RemoteImageGuard, Server]:
    server = Server({"/v1/guard": answer})
    return RemoteImageGuard(f"http://127.0.0.1:{server.port}", **options), server


def outcome(answer: Answer, **options: Any) -> tuple[GuardAlignError | None, list[str]]:
    remote, server = asked(answer, **options)
    with server, remote:
        try:
            assert remote.config.name == "red"
        except GuardAlignError as error:
            return error, server.heads
        return None, server.heads


def in_turn(*answers: bytes) -> Callable[[socket.socket], None]:
    rest = iter(answers)
    return lambda connection: connection.sendall(next(rest))


def test_the_key_and_nothing_else_is_sent() -> None:
    error, (head,) = outcome(ok(DESCRIPTION), api_key=f" {KEY}\n")
    assert error is None
    lines = head.lower().splitlines()
    assert f"authorization: bearer {KEY}" in lines
    assert "accept-encoding: identity" in lines
    assert not [line for line in lines if line.startswith("cookie")]
    _, (head,) = outcome(ok(DESCRIPTION))
    assert "authorization" not in head.lower()


def test_proxies_and_passwords_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    error, (head,) = outcome(ok(DESCRIPTION))
    assert error is None
    assert "authorization" not in head.lower()


def test_a_full_guard_is_asked_again(no_waiting: list[float]) -> None:
    full = refusal(429, b"", "Retry-After: 2")
    error, heads = outcome(in_turn(full, refusal(503), ok(DESCRIPTION)))
    assert error is None
    assert len(heads) == 3
    assert no_waiting == [2.0, 0.2]


def test_cookies_of_an_answer_are_not_sent_back() -> None:
    full = refusal(429, b"", "Set-Cookie: visitor=1; Path=/")
    error, heads = outcome(in_turn(full, ok(DESCRIPTION)))
    assert error is None
    assert len(heads) == 2
    assert not [head for head in heads if "cookie" in head.lower()]


@pytest.mark.parametrize(
    ("answer", "asked_times"),
    [
        (refusal(429), 3),
        (refusal(503), 3),
        # Longer than the whole request may take.
        (refusal(429, b"", "Retry-After: 3600"), 1),
        (refusal(503, b"", "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT"), 1),
    ],
)
def test_a_guard_that_stays_full(answer: bytes, asked_times: int) -> None:
    error, heads = outcome(answer, retries=2)
    assert type(error) is Overloaded
    assert error.stage == "remote"
    assert len(heads) == asked_times


def test_what_the_guard_raised_is_raised_after_the_last_try() -> None:
    failure = Failure.of(Overloaded("Full.", stage="generation", remedy="Wait."))
    body = json.dumps({"error": {}, "guardalign": failure.model_dump()}).encode()
    error, heads = outcome(refusal(503, body), retries=1)
    assert type(error) is Overloaded
    assert (error.stage, error.remedy) == ("generation", "Wait.")
    assert len(heads) == 2


def test_an_error_of_the_guard_is_not_asked_for_twice() -> None:
    failure = Failure.of(ImageRejected("Bad.", reason="corrupt", source="a.png", remedy="Mend."))
    body = json.dumps({"error": {}, "guardalign": failure.model_dump()}).encode()
    error, heads = outcome(refusal(400, body))
    assert type(error) is ImageRejected
    assert (error.reason, error.source, error.remedy) == ("corrupt", "a.png", "Mend.")
    assert len(heads) == 1


def hang_up(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answer", "kind", "problem"),
    [
        (hang_up, Unreachable, "broke off"),
        (ok(b"{}", length=100), Unreachable, "broke off"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", Unreachable, "broke off"),
        (ok(b"no json"), Unreachable, "not JSON"),
        (ok(b"[" * 100), Unreachable, "not JSON"),
        (ok(b"[]"), Unreachable, "no JSON object"),
        (ok(b"{}"), ConfigError, "no version"),
        (ok(b'{"version": 2}'), ConfigError, "version 2"),
        (ok(b'{"version": 1}'), Unreachable, r"cannot be read.*guard"),
        (refusal(401), ConfigError, "refuses the key"),
        (refusal(403), ConfigError, "refuses the key"),
        (refusal(404), ConfigError, "no guard at"),
        (refusal(500, b'{"error": {"message": "Oh."}}'), Unreachable, "status 500: Oh"),
        (refusal(400, b'{"guardalign": {"version": 1, "kind": "Oh"}}'), Unreachable, "error that"),
        (refusal(400, b'{"guardalign": {"version": 3}}'), ConfigError, "version 3"),
        (redirect("http://127.0.0.1:1/v1/guard"), ConfigError, "redirects"),
        (redirect("https://other.example/", status=307), ConfigError, "redirects"),
    ],
)
def test_every_other_answer_is_refused_at_once(
    answer: Answer, kind: type[GuardAlignError], problem: str, no_waiting: list[float]
) -> None:
    error, heads = outcome(answer, api_key=KEY)
    assert type(error) is kind
    with pytest.raises(kind, match=problem):
        raise error
    assert error.remedy
    assert len(heads) == 1
    assert no_waiting == []


def test_an_answer_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_MOST_BYTES", 1000)
    error, _ = outcome(ok(b" " * 5000))
    assert type(error) is Unreachable
    assert "more than 1,000 bytes" in error.message


def test_a_guard_that_takes_too_long() -> None:
    slow = drip(ok(DESCRIPTION, length=len(DESCRIPTION)), seconds=0.02)
    started = time.monotonic()
    error, heads = outcome(slow, timeout=0.3)
    assert type(error) is Unreachable
    assert "within 0.3 seconds" in error.message
    assert len(heads) == 1
    assert time.monotonic() - started < 60


def test_a_guard_that_is_not_there_is_asked_again(no_waiting: list[float]) -> None:
    remote = RemoteImageGuard("http://127.0.0.1:9", retries=2)
    with pytest.raises(Unreachable, match="cannot be reached: ConnectError"):
        _ = remote.config
    assert no_waiting == [0.1, 0.2]


def test_the_key_is_in_no_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    remote, server = asked(refusal(401), api_key=KEY)
    with server, remote:
        with pytest.raises(ConfigError) as caught:
            _ = remote.config
        texts = [repr(remote), repr(vars(remote)), repr(vars(remote._connection)), caplog.text]
    texts += traceback.format_exception(caught.value)
    assert not [text for text in texts if KEY in text]


def test_encryption_and_who_is_trusted(tmp_path: Path) -> None:
    server_tls, client_tls = make_certificate(tmp_path, "localhost")
    with Server({"/v1/guard": ok(DESCRIPTION)}, tls=server_tls) as server:
        url = f"https://localhost:{server.port}"
        with RemoteImageGuard(url, tls=client_tls) as trusted:
            assert trusted.config.name == "red"
        with RemoteImageGuard(url, tls=ssl.create_default_context(), retries=0) as untrusted:
            with pytest.raises(Unreachable, match="ConnectError"):
                _ = untrusted.config


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("guard.example", "https://"),
        ("ftp://guard.example", "https://"),
        ("https://", "https://"),
        ("https://me:secret@guard.example", "no password"),
        ("https://guard.example?key=secret", "no password, query"),
        ("http://guard.example", "without encryption.*allow_http"),
        ("http://10.0.0.7:8000", "without encryption.*allow_http"),
    ],
)
def test_an_url_that_is_refused(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        RemoteImageGuard(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000",
        "http://[::1]:8000/",
        "https://guard.example/team/",
        "http://127.1.1.1",
    ],
)
def test_an_url_that_is_accepted(url: str) -> None:
    assert repr(RemoteImageGuard(url)) == f"RemoteImageGuard({url.rstrip('/')!r})"
    RemoteImageGuard("http://guard:8000", allow_http=True)


def test_a_guard_below_a_path() -> None:
    with Server({"/team/v1/guard": ok(DESCRIPTION)}) as server:
        with RemoteImageGuard(f"http://127.0.0.1:{server.port}/team") as remote:
            assert remote.config.name == "red"


@pytest.mark.parametrize("key", ["", " ", "two words", "line\nbreak", "schlüssel", 7])
def test_a_key_that_no_header_can_hold(key: Any) -> None:
    with pytest.raises(ConfigError, match="api_key"):
        RemoteImageGuard("http://localhost:8000", api_key=key)
