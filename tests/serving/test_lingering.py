"""Clients that are refused while they still send, over real sockets."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import red_chain
from tests.support.gated import until
from tests.support.serving import KEY, Running, head, running

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

_LIMIT = 16 * 2**20
_LONG = 24 * 2**20
"""More than a body may hold, and than the buffers of two sockets do."""


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serving() as started:
        yield started


def serving(**limits: Any) -> Any:
    limits = {"max_body_bytes": _LIMIT, "body_seconds": 600.0, **limits}
    return running(create_app(red_chain(), ServeOptions(ServeConfig(**limits), api_key=KEY)))


def announced(key: str, *headers: str) -> bytes:
    """The head of a request with a long body."""
    return head(f"Content-Length: {_LONG}", *headers, key=key)


def received(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """What a client reads until the server closes."""
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
    top, _, body = answer.partition(b"\r\n\r\n")
    return int(top.split(b" ")[1]), json.loads(body)["error"]


@pytest.mark.parametrize(
    ("key", "full", "status"), [("another", False, 401), (KEY, False, 413), (KEY, True, 429)]
)
def test_a_client_that_sends_everything_first_reads_why_it_was_refused(
    server: Running, key: str, full: bool, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    admission = server.app.state.service.admission
    monkeypatch.setattr(admission, "at_work", 10**6 if full else 0)
    with socket.create_connection(server.address, timeout=60) as connection:
        connection.sendall(announced(key, "Connection: close") + b" " * _LONG)
        assert received(connection)[0] == status


def test_the_answer_does_not_wait_for_the_body(server: Running) -> None:
    with socket.create_connection(server.address, timeout=60) as connection:
        connection.sendall(announced("another", "Connection: close"))
        assert b"invalid_api_key" in _until(connection, b"}}")
        connection.sendall(b" " * _LONG)
        assert connection.recv(1) == b""


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    with serving(body_seconds=0.2) as quick:
        with socket.create_connection(quick.address, timeout=60) as connection:
            connection.sendall(announced("another", "Connection: close"))
            assert received(connection)[0] == 401


def test_a_client_that_leaves_is_not_waited_for(server: Running) -> None:
    with socket.create_connection(server.address, timeout=60) as connection:
        connection.sendall(announced("another"))
        assert b"invalid_api_key" in _until(connection, b"}}")
    until(lambda: not server.server.server_state.tasks)  # well before the 600 s for a body


def test_a_client_that_asks_before_it_sends_is_answered_at_once(server: Running) -> None:
    with socket.create_connection(server.address, timeout=60) as connection:
        asking = ("Expect: 100-continue", "Connection: close")
        connection.sendall(announced("another", *asking))
        assert received(connection)[0] == 401


def _until(connection: socket.socket, end: bytes) -> bytes:
    answer = b""
    while end not in answer:
        answer += connection.recv(65536)
    return answer
