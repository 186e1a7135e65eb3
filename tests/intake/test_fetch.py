"""Fetching from real servers: what is asked, what is taken, and how much and how long."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from itertools import chain, repeat

import numpy as np
import pytest

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake import fetch as fetching
from guardalign_middleware.intake import load_image
from guardalign_middleware.intake.fetch import Network, afetch_bytes, fetch_bytes
from tests.support.fetching import (
    INNER,
    OUTER,
    PNG,
    Fetch,
    local_servers,
    network,
    policy_for,
    rejected,
    url_of,
)
from tests.support.pictures import gradient
from tests.support.servers import Server, drip, ok, redirect


def unresolvable(host: str, port: int) -> list[str]:
    raise AssertionError(f"{host} was looked up")


class TestWhatIsAsked:
    """Without a socket: all of it is refused before a name is looked up."""

    POLICY = IntakePolicy(allow_url_hosts=("images.example", "b.test:8443"))

    @pytest.mark.parametrize(
        "url",
        [
            "http://images.example/secret.png",
            "ftp://images.example/secret.png",
            "file:///secret/passwd",
            "https://other.test/secret.png",
            "https://images.example.other.test/secret",
            "https://other.test/?secret=https://images.example/",
            "https://other.test#@images.example/secret",
            "https://images.example@other.test/secret",
            "https://secret:word@images.example/a.png",
            "https://secret@images.example/a.png",
            "https://images.example:8443/secret",
            "https://images.example:0/secret",
            "https://b.test/secret",
            "https://images.example\\@other.test/secret",
            "https://images.example./secret",
            "https://images.example/secret a.png",
            "https://images.example/\r\nsecret: x",
            "https://images.example/" + "secret" * 2000,
            "https://ｉmages.example/secret",
            "https://127.0.0.1/secret",
            "https://2130706433/secret",
            "https://0177.0.0.1/secret",
            "https://0x7f.1/secret",
            "https://[::1]/secret",
            "https://[::ffff:127.0.0.1]/secret",
            "https://[::1/secret",
            "https:///secret",
            "secret",
            "",
        ],
    )
    def test_anything_off_the_list_is_refused_unasked(self, fetch: Fetch, url: str) -> None:
        error = rejected(fetch, url, self.POLICY, Network(resolve=unresolvable))
        assert error.reason == "url_not_allowed"

    def test_no_policy_allows_a_host_by_default(self, fetch: Fetch) -> None:
        url = "https://images.example/a.png"
        assert (
            rejected(fetch, url, IntakePolicy(), Network(resolve=unresolvable)).reason
            == "url_not_allowed"
        )

    def test_case_does_not_matter_and_the_usual_port_may_be_written(self, fetch: Fetch) -> None:
        for url in (
            "HTTPS://Images.EXAMPLE/a",
            "https://images.example:443/a",
            "https://b.test:8443",
        ):
            error = rejected(fetch, url, self.POLICY, Network(resolve=lambda host, port: []))
            assert error.reason == "unreachable"

    @pytest.mark.parametrize(
        "answer",
        [
            ["127.0.0.1"],
            ["::1"],
            ["::ffff:8.8.8.8"],
            ["64:ff9b::808:808"],
            ["2130706433"],
            ["fe80::1%1"],
            ["8.8.8.8", "10.0.0.1"],
            ["8.8.8.8", "169.254.169.254"],
            ["images.example"],
        ],
    )
    def test_one_address_that_is_not_public_condemns_the_host(
        self, fetch: Fetch, answer: list[str]
    ) -> None:
        lookups = Network(resolve=lambda host, port: answer)
        error = rejected(fetch, "https://images.example/", self.POLICY, lookups)
        assert error.reason == "address_not_allowed"

    @pytest.mark.parametrize("fault", [socket.gaierror(-2, "unknown"), UnicodeError("label")])
    def test_an_unknown_name_is_unreachable(self, fetch: Fetch, fault: Exception) -> None:
        def unknown(host: str, port: int) -> list[str]:
            raise fault

        error = rejected(fetch, "https://images.example/", self.POLICY, Network(resolve=unknown))
        assert error.reason == "unreachable"

    def test_a_name_server_that_hangs_is_not_waited_for(self, fetch: Fetch) -> None:
        given_up = threading.Event()

        def hanging(host: str, port: int) -> list[str]:
            given_up.wait(300)
            return ["8.8.8.8"]

        policy = IntakePolicy(allow_url_hosts=("images.example",), max_url_seconds=0.2)
        error = rejected(fetch, "https://images.example/", policy, Network(resolve=hanging))
        given_up.set()
        assert error.reason == "timed_out"


@local_servers
class TestTheDownload:
    def test_an_allowed_picture_is_fetched(self, fetch: Fetch) -> None:
        with Server({"/a.png?size=1": ok(PNG)}) as server:
            url = url_of(server, "/a.png?size=1#part")
            assert fetch(url, policy_for(server), network=network()) == PNG
        (head,) = server.heads
        assert f"Host: images.example:{server.port}\r\n" in head
        assert "Accept-Encoding: identity\r\n" in head
        for name in ("cookie", "authorization", "referer", "#part"):
            assert name not in head.lower()

    def test_the_second_address_is_tried_when_the_first_does_not_answer(self, fetch: Fetch) -> None:
        with Server({"/a.png": ok(PNG)}) as server:
            # No server listens on this port of 127.0.0.2.
            anything = Network(lambda host, port: [INNER, OUTER], lambda address: True)
            assert fetch(url_of(server), policy_for(server), network=anything) == PNG

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_redirects_are_followed_without_cookies(self, fetch: Fetch, status: int) -> None:
        hop = redirect("b.png", "Set-Cookie: id=secret; Path=/", status=status)
        with Server({"/a.png": hop, "/b.png": ok(PNG)}) as server:
            assert fetch(url_of(server), policy_for(server), network=network()) == PNG
        assert len(server.heads) == 2
        assert "cookie" not in server.heads[1].lower()

    def test_redirects_are_counted(self, fetch: Fetch) -> None:
        with Server({"/a.png": redirect("/a.png")}) as server:
            policy = policy_for(server, max_url_redirects=2)
            error = rejected(fetch, url_of(server), policy, network())
        assert error.reason == "too_many_redirects"
        assert len(server.heads) == 3

    def test_the_content_is_judged_by_the_decoder_alone(
        self, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        routes = {
            "/lies.txt": ok(PNG, "Content-Type: text/html"),
            "/page.png": ok(b"<html>" * 20, "Content-Type: image/png"),
        }
        with Server(routes) as server:
            policy = policy_for(server)

            def through_the_test_network(url: str, policy: IntakePolicy) -> bytes:
                return fetch(url, policy, network=network())

            monkeypatch.setattr(fetching, "fetch_bytes", through_the_test_network)
            image = load_image(url_of(server, "/lies.txt"), policy)
            np.testing.assert_array_equal(image.pixels, np.asarray(gradient()))
            assert image.source == "<http URL>"
            with pytest.raises(ImageRejected) as caught:
                load_image(url_of(server, "/page.png"), policy)
        assert caught.value.reason == "unknown_format"

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\nx",
            b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
            ok(PNG, "Content-Encoding: gzip"),
            ok(PNG[:20], length=len(PNG)),
            b"no HTTP at all\r\n\r\n",
            b"",
        ],
    )
    def test_anything_but_a_whole_answer_is_unreachable(self, fetch: Fetch, answer: bytes) -> None:
        with Server({"/a.png": answer}) as server:
            error = rejected(fetch, url_of(server), policy_for(server), network())
        assert error.reason == "unreachable"

    def test_a_port_without_a_server_is_unreachable(self, fetch: Fetch) -> None:
        with Server({}) as server:
            pass
        error = rejected(fetch, url_of(server), policy_for(server), network())
        assert error.reason == "unreachable"

    def test_an_empty_body_is_empty(self, fetch: Fetch) -> None:
        with Server({"/a.png": ok(b"")}) as server:
            error = rejected(fetch, url_of(server), policy_for(server), network())
        assert error.reason == "empty"


@local_servers
class TestCaps:
    def test_a_declared_length_is_refused_before_the_body(self, fetch: Fetch) -> None:
        with Server({"/a.png": ok(b"", length=10_001)}) as server:
            policy = policy_for(server, max_bytes=10_000)
            assert rejected(fetch, url_of(server), policy, network()).reason == "too_many_bytes"

    def test_an_endless_body_is_cut_off(self, fetch: Fetch) -> None:
        sent = 0

        def endless(connection: socket.socket) -> None:
            nonlocal sent
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                connection.sendall(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
                sent += 0x1000

        with Server({"/a.png": endless}) as server:
            policy = policy_for(server, max_bytes=10_000)
            assert rejected(fetch, url_of(server), policy, network()).reason == "too_many_bytes"
        # What the system's buffers took is all that was sent.
        assert sent < 20_000_000

    def test_exactly_as_many_bytes_as_allowed_are_fine(self, fetch: Fetch) -> None:
        with Server({"/a.png": ok(b"x" * 1000)}) as server:
            policy = policy_for(server, max_bytes=1000)
            assert len(fetch(url_of(server), policy, network=network())) == 1000

    @pytest.mark.parametrize(
        "start", [ok(b"", length=10_000), b"HTTP/1.1 200 OK\r\nX: "], ids=["body", "head"]
    )
    def test_one_deadline_holds_for_a_server_that_drips(self, fetch: Fetch, start: bytes) -> None:
        with Server({"/a.png": drip(chain(start, repeat(ord("x"))), 0.01)}) as server:
            policy = policy_for(server, max_url_seconds=0.4)
            error = rejected(fetch, url_of(server), policy, network())
        assert error.reason == "timed_out"
        assert "intake.max_url_seconds" in error.remedy

    def test_the_deadline_spans_all_redirects(self, fetch: Fetch) -> None:
        with Server({"/a.png": drip(redirect("/a.png"), 0.005)}) as server:
            policy = policy_for(server, max_url_seconds=0.8, max_url_redirects=100)
            assert rejected(fetch, url_of(server), policy, network()).reason == "timed_out"


@local_servers
async def test_the_event_loop_goes_on_and_a_cancelled_task_hangs_up() -> None:
    with Server({"/a.png": drip(ok(b"x" * 1000), 0.05)}) as server:
        task = asyncio.create_task(
            afetch_bytes(url_of(server), policy_for(server), network=network())
        )
        for _ in range(10):
            await asyncio.sleep(0.02)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@local_servers
async def test_the_blocking_call_works_inside_a_running_loop() -> None:
    with Server({"/a.png": ok(PNG)}) as server:
        assert fetch_bytes(url_of(server), policy_for(server), network=network()) == PNG


def test_without_the_opt_in_no_network_code_is_loaded() -> None:
    code = (
        "import sys\n"
        "from guardalign_middleware.intake import load_image\n"
        "from guardalign_middleware.errors import ImageRejected\n"
        "try: load_image('https://images.example/a.png')\n"
        "except ImageRejected as error: print(error.reason)\n"
        "print('httpx' in sys.modules, 'guardalign_middleware.intake.fetch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["url_not_allowed", "False", "False"]
