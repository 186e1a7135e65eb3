"""Clients that leave, crawl or cheat, a full server, and its end, over real sockets."""

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.listening import bind, url_of
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import red_chain
from tests.support.gated import until
from tests.support.serving import AUTHORIZED, KEY, GatedRunner, Running, head, running

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

QUESTION = {"model": "red", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def runner() -> Iterator[GatedRunner]:
    made = GatedRunner()
    yield made
    made.enough.set()


def serving(runner: GatedRunner, **limits: Any) -> Any:
    options = ServeOptions(ServeConfig(**limits), api_key=KEY)
    return running(create_app(red_chain(runner=runner), options))


def raw(server: Running, request: bytes) -> socket.socket:
    connection = socket.create_connection(server.address, timeout=60)
    connection.sendall(request)
    return connection


def post(body: bytes, *headers: str, path: str = "/v1/chat/completions") -> bytes:
    return head(*(headers or (f"Content-Length: {len(body)}",)), path=path) + body


def ask(server: Running, **more: Any) -> httpx.Response:
    url = f"{server.url}/v1/chat/completions"
    return httpx.post(url, json={**QUESTION, **more}, headers=AUTHORIZED, timeout=60)


def test_a_client_that_leaves_a_stream_frees_the_model(runner: GatedRunner) -> None:
    with serving(runner) as server:
        connection = raw(server, post(json.dumps({**QUESTION, "stream": True}).encode()))
        runner.more.release()
        received = b""
        while b"word" not in received:
            received += connection.recv(4096)
        connection.close()
        # No further word is asked for, so none is made.
        assert runner.cancelled.acquire(timeout=60)
        assert runner.words == 1
        until(lambda: server.app.state.service.admission.at_work == 0)


def test_a_client_that_leaves_before_its_answer_frees_the_model(runner: GatedRunner) -> None:
    with serving(runner) as server:
        connection = raw(server, post(json.dumps(QUESTION).encode()))
        assert runner.asked.acquire(timeout=60)
        connection.close()
        assert runner.cancelled.acquire(timeout=60)
        assert runner.words == 0
        until(lambda: server.app.state.service.admission.at_work == 0)


def test_overload_is_refused_and_ends_with_the_load(runner: GatedRunner) -> None:
    with serving(runner, max_requests=2) as server, ThreadPoolExecutor(12) as clients:
        busy = [clients.submit(ask, server, stream=number > 0) for number in range(2)]
        assert all(runner.asked.acquire(timeout=60) for _ in busy)
        refused = [each.result() for each in [clients.submit(ask, server) for _ in range(10)]]
        assert {each.status_code for each in refused} == {429}
        assert {each.headers["retry-after"] for each in refused} == {"1"}
        assert {each.json()["error"]["type"] for each in refused} == {"rate_limit_error"}
        runner.enough.set()
        assert {each.result().status_code for each in busy} == {200}
        assert ask(server).status_code == 200


def test_after_a_signal_answers_are_finished_and_none_are_begun(runner: GatedRunner) -> None:
    with serving(runner) as server, ThreadPoolExecutor(1) as clients:
        answer = clients.submit(ask, server, stream=True)
        assert runner.asked.acquire(timeout=60)
        server.server.handle_exit(15, None)
        refused = ask(server)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert httpx.get(f"{server.url}/ready").status_code == 503
        assert httpx.get(f"{server.url}/health").status_code == 200
        runner.more.release()
        runner.enough.set()
        assert answer.result().text.endswith("data: [DONE]\n\n")
        server.wait()
        assert server.server.signal == 15


@pytest.mark.parametrize("again", [False, True])
def test_an_answer_without_end_is_cut_after_the_draining(runner: GatedRunner, again: bool) -> None:
    with serving(runner, drain_seconds=600.0 if again else 0.0) as server:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as client:
            stream = client.chat.completions.create(**QUESTION, stream=True)  # type: ignore[call-overload]
            next(stream)
            server.server.handle_exit(15, None)
            if again:
                server.server.handle_exit(15, None)
            with pytest.raises((httpx.RemoteProtocolError, openai.APIError)):
                list(stream)
        server.wait()
        assert runner.cancelled.acquire(timeout=60)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(post(b"{}", "Content-Length: 2", "Content-Length: 3"), id="two lengths"),
        pytest.param(post(b"{}", "Content-Length: 2", "Transfer-Encoding: chunked"), id="both"),
        pytest.param(post(b"{}", "Transfer-Encoding: chunked, identity"), id="unknown coding"),
        pytest.param(post(b"{}", "Transfer-Encoding : chunked"), id="space before the colon"),
        pytest.param(post(b"{}", "Content-Length: +2"), id="signed length"),
        pytest.param(post(b"{}", "Content-Length: 2", "X-A: b\0c"), id="NUL"),
        pytest.param(post(b"zz\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), id="chunk size"),
        pytest.param(b"GET /v1/models HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(post(b"{}", "Content-Length: 2", "Host: other"), id="two hosts"),
        pytest.param(
            post(b"{}", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
            id="coded twice",
        ),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", id="TLS"),
    ],
)
def test_a_request_with_two_readings_is_refused_and_its_connection_closed(
    request_: bytes, smuggling: Running
) -> None:
    # What a second reader could take for another request must not be answered.
    smuggled = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n" + f"x-api-key: {KEY}\r\n\r\n".encode()
    received = b""
    with raw(smuggling, request_ + smuggled) as connection:
        while piece := connection.recv(65_536):
            received += piece
    assert received.split(b" ")[1] == b"400"
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"owned_by" not in received


@pytest.mark.parametrize("url", ["http://127.0.0.1/v1/models", "//127.0.0.1/v1/models"])
def test_a_target_with_a_host_of_its_own_leads_nowhere(url: str, smuggling: Running) -> None:
    # Whoever routes by the target and whoever routes by the host must not differ.
    request = f"GET {url} HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\nConnection: close\r\n\r\n"
    received = b""
    with raw(smuggling, request.encode()) as connection:
        while piece := connection.recv(65_536):
            received += piece
    assert received.split(b" ")[1] in (b"400", b"404")
    assert b"owned_by" not in received


@pytest.fixture(scope="module")
def smuggling() -> Iterator[Running]:
    with serving(GatedRunner()) as server:
        yield server


def test_a_connection_that_sends_no_request_is_closed(runner: GatedRunner) -> None:
    with serving(runner, body_seconds=0.2) as server:
        for sent in (b"", b"POST /v1/chat"):
            with raw(server, sent) as connection:
                assert connection.recv(100) == b""


@pytest.mark.parametrize("head", [b"POST /v1/chat", post(b"", "Content-Length: 100000")])
def test_a_client_that_crawls_gains_no_time_by_it(head: bytes, runner: GatedRunner) -> None:
    with serving(runner, body_seconds=0.2) as server, raw(server, head) as connection:
        connection.settimeout(0.005)
        received = b"?"
        while received:
            try:
                received = connection.recv(4096)
            except TimeoutError:
                try:
                    connection.sendall(b"a")
                except (BrokenPipeError, ConnectionResetError):
                    break
            except ConnectionResetError:
                break
        until(lambda: not server.server.server_state.connections)
        assert server.app.state.service.admission.at_work == 0


def test_five_times_what_it_takes_is_refused_and_nothing_grows(runner: GatedRunner) -> None:
    with serving(runner, max_requests=2) as server, ThreadPoolExecutor(10) as clients:
        service = server.app.state.service
        asked = [clients.submit(ask, server, stream=number % 2 > 0) for number in range(10)]
        until(lambda: sum(each.done() for each in asked) == 8)
        assert service.admission.at_work == 2
        server.server.handle_exit(15, None)
        assert ask(server).status_code == 503
        runner.enough.set()
        statuses = [each.result().status_code for each in asked]
        assert (statuses.count(200), statuses.count(429)) == (2, 8)
        server.wait()
        assert service.admission.at_work == len(service.guard.detector.queue) == 0


def test_a_client_that_does_not_read_is_given_up(runner: GatedRunner) -> None:
    with serving(runner, stalled_seconds=0.2) as server:
        # More than the buffers of two sockets hold.
        runner.word, runner.more = "w" * 65_536, threading.Semaphore(400)
        connection = raw(server, post(json.dumps({**QUESTION, "stream": True}).encode()))
        with connection:
            assert runner.cancelled.acquire(timeout=60)
            until(lambda: not server.server.server_state.connections)


def test_an_address_that_is_taken_is_an_error_before_anything_loads() -> None:
    with bind("127.0.0.1", 0) as first:
        first.listen()
        port = first.getsockname()[1]
        assert url_of(first) == f"http://127.0.0.1:{port}"
        with pytest.raises(ConfigError, match="Choose another --host or --port"):
            bind("127.0.0.1", port)
    with pytest.raises(ConfigError, match="Cannot listen on"):
        bind("192.0.2.1", 0)
