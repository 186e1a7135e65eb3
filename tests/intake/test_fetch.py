"""Fetching against real servers; only `Network`, which no policy reaches, lets tests dial them."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake import fetch as fetching
from guardalign_middleware.intake import load_image
from guardalign_middleware.intake.addresses import is_public_address
from guardalign_middleware.intake.fetch import Network, afetch_bytes, fetch_bytes
from tests.intake.pictures import encode, gradient
from tests.intake.servers import Server, drip, make_certificate, ok, redirect

# 127.0.0.1 plays the internet, and 127.0.0.2 the inner network. Both can be reached from here, so a
# hole in the code would be seen by the second server.
OUTER, INNER = "127.0.0.1", "127.0.0.2"
local_servers = pytest.mark.allow_hosts([OUTER, INNER])
PNG = encode(gradient())
Fetch = Callable[..., bytes]


def afetch_in_a_loop(url: str, policy: IntakePolicy, **options: Any) -> bytes:
    return asyncio.run(afetch_bytes(url, policy, **options))


@pytest.fixture(params=[fetch_bytes, afetch_in_a_loop], ids=["sync", "async"])
def fetch(request: pytest.FixtureRequest) -> Fetch:
    return request.param


def policy_for(*servers: Server, **changes: Any) -> IntakePolicy:
    hosts = [f"{name}:{server.port}" for server in servers for name in ("images.example", "b.test")]
    fields = {"allow_url_hosts": hosts, "url_schemes": ["http"], "max_url_seconds": 5.0}
    return IntakePolicy(**{**fields, **changes})


def may_dial(address: str) -> bool:
    return address == OUTER or is_public_address(address)


def network(*answers: Sequence[str], tls: ssl.SSLContext | None = None) -> Network:
    """Names resolve to the answers one after the other; the last one is repeated."""
    rest = list(answers or [[OUTER]])
    return Network(
        resolve=lambda host, port: rest.pop(0) if len(rest) > 1 else rest[0],
        is_public=may_dial,
        tls=tls,
    )


def url_of(server: Server, path: str = "/a.png", host: str = "images.example") -> str:
    return f"http://{host}:{server.port}{path}"


def rejected(fetch: Fetch, url: str, policy: IntakePolicy, network: Network) -> ImageRejected:
    with pytest.raises(ImageRejected) as caught:
        fetch(url, policy, network=network)
    error = caught.value
    assert error.remedy
    assert "secret" not in str(error) + error.source
    return error


def nobody(host: str, port: int) -> list[str]:
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
        error = rejected(fetch, url, self.POLICY, Network(resolve=nobody))
        assert error.reason == "url_not_allowed"

    def test_no_policy_allows_a_host_by_default(self, fetch: Fetch) -> None:
        url = "https://images.example/a.png"
        assert (
            rejected(fetch, url, IntakePolicy(), Network(resolve=nobody)).reason
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
    def test_a_name_that_nobody_knows_is_unreachable(self, fetch: Fetch, fault: Exception) -> None:
        def unknown(host: str, port: int) -> list[str]:
            raise fault

        error = rejected(fetch, "https://images.example/", self.POLICY, Network(resolve=unknown))
        assert error.reason == "unreachable"

    def test_a_name_server_that_hangs_is_not_waited_for(self, fetch: Fetch) -> None:
        def hanging(host: str, port: int) -> list[str]:
            time.sleep(3)
            return ["8.8.8.8"]

        policy = IntakePolicy(allow_url_hosts=("images.example",), max_url_seconds=0.2)
        started = time.monotonic()
        error = rejected(fetch, "https://images.example/", policy, Network(resolve=hanging))
        assert error.reason == "timed_out"
        assert time.monotonic() - started < 2


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
            # Nobody listens on this port of 127.0.0.2.
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

    def test_nobody_there_is_unreachable(self, fetch: Fetch) -> None:
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
        "answer",
        [ok(b"x" * 1000), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + b"x" * 9],
        ids=["head and body", "head"],
    )
    def test_one_deadline_holds_for_a_server_that_drips(self, fetch: Fetch, answer: bytes) -> None:
        with Server({"/a.png": drip(answer, 0.1)}) as server:
            policy = policy_for(server, max_url_seconds=0.4)
            started = time.monotonic()
            error = rejected(fetch, url_of(server), policy, network())
            assert time.monotonic() - started < 3
        assert error.reason == "timed_out"
        assert "intake.max_url_seconds" in error.remedy

    def test_the_deadline_spans_all_redirects(self, fetch: Fetch) -> None:
        with Server({"/a.png": drip(redirect("/a.png"), 0.005)}) as server:
            policy = policy_for(server, max_url_seconds=0.8, max_url_redirects=1000)
            assert rejected(fetch, url_of(server), policy, network()).reason == "timed_out"


@local_servers
class TestForgery:
    @pytest.mark.parametrize(
        "target",
        [
            "http://127.0.0.2:{port}/secret",
            "http://2130706434:{port}/secret",
            "http://0177.0.0.2:{port}/secret",
            "http://127.2:{port}/secret",
            "http://[::ffff:127.0.0.2]:{port}/secret",
            "//127.0.0.2:{port}/secret",
            "http://secret:word@images.example:{port}/",
            "https://images.example:{port}/secret",
            "file:///etc/passwd",
            "gopher://images.example:{port}/secret",
            "http://images.example:{port}\\@b.test/secret",
            "http://[/secret",
        ],
    )
    def test_a_redirect_is_checked_like_the_first_url(self, fetch: Fetch, target: str) -> None:
        with Server({"/secret": ok(PNG)}, address=INNER) as inner:
            hop = redirect(target.format(port=inner.port))
            with Server({"/a.png": hop}) as server:
                policy = policy_for(server, inner)
                error = rejected(fetch, url_of(server), policy, network())
        assert error.reason == "url_not_allowed"
        assert inner.heads == []

    def test_a_redirect_to_an_allowed_name_inside_is_refused(self, fetch: Fetch) -> None:
        with Server({"/secret": ok(PNG)}, address=INNER) as inner:
            hop = redirect(url_of(inner, "/secret", host="b.test"))
            with Server({"/a.png": hop}) as server:
                lookups = network([OUTER], [INNER])
                error = rejected(fetch, url_of(server), policy_for(server, inner), lookups)
        assert error.reason == "address_not_allowed"
        assert inner.heads == []

    def test_the_answer_that_was_checked_is_the_one_that_is_dialled(self, fetch: Fetch) -> None:
        """DNS rebinding: the name server answers otherwise as soon as it is asked again."""
        asked = []

        def rebinding(host: str, port: int) -> list[str]:
            asked.append((host, port))
            return [OUTER] if len(asked) == 1 else [INNER]

        with Server({"/a.png": ok(PNG)}) as server:
            lookups = Network(resolve=rebinding, is_public=may_dial)
            assert fetch(url_of(server), policy_for(server), network=lookups) == PNG
            assert asked == [("images.example", server.port)]
            error = rejected(fetch, url_of(server), policy_for(server), lookups)
        assert error.reason == "address_not_allowed"
        assert len(server.heads) == 1

    def test_a_hop_to_the_same_name_is_looked_up_and_checked_again(self, fetch: Fetch) -> None:
        with Server({"/a.png": redirect("/b.png"), "/b.png": ok(PNG)}) as server:
            lookups = network([OUTER], [INNER])
            error = rejected(fetch, url_of(server), policy_for(server), lookups)
        assert error.reason == "address_not_allowed"
        assert len(server.heads) == 1

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "2130706433", "127.1", "0x7f.1"])
    def test_whatever_a_policy_names_the_own_host_is_never_dialled(
        self, fetch: Fetch, host: str
    ) -> None:
        """With the real name resolution; a policy past its own validation is no way in either."""
        with Server({"/a.png": ok(PNG)}) as server:
            hole = {"allow_url_hosts": (f"{host}:{server.port}",)}
            policy = policy_for(server).model_copy(update=hole)
            for load in (lambda url: fetch(url, policy), lambda url: load_image(url, policy)):
                with pytest.raises(ImageRejected) as caught:
                    load(url_of(server, host=host))
                assert caught.value.reason == "address_not_allowed"
        assert server.heads == []

    def test_the_environment_is_not_asked(
        self, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        secrets = tmp_path / "netrc"
        secrets.write_text("default login secret password word\n")
        monkeypatch.setenv("NETRC", str(secrets))
        with Server({"/a.png": ok(PNG)}) as server, Server({}) as proxy:
            for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
                monkeypatch.setenv(name, f"http://{OUTER}:{proxy.port}")
            assert fetch(url_of(server), policy_for(server), network=network()) == PNG
        assert proxy.heads == []
        assert "authorization" not in server.heads[0].lower()


@local_servers
@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
class TestTls:
    def test_the_name_of_the_url_is_shown_and_checked(self, fetch: Fetch, tmp_path: Path) -> None:
        serving, trusting = make_certificate(tmp_path, "images.example")
        shown: list[str | None] = []
        serving.sni_callback = lambda connection, name, context: shown.append(name)
        with Server({"/a.png": ok(PNG)}, tls=serving) as server:
            policy = policy_for(server, url_schemes=("https",))
            url = url_of(server).replace("http:", "https:")
            assert fetch(url, policy, network=network(tls=trusting)) == PNG
            assert shown == ["images.example"]
            other = url.replace("images.example", "b.test")
            error = rejected(fetch, other, policy, network(tls=trusting))
            assert error.reason == "unreachable"
            # Nobody vouches for this certificate.
            assert rejected(fetch, url, policy, network()).reason == "unreachable"
        assert len(server.heads) == 1
        assert f"Host: images.example:{server.port}\r\n" in server.heads[0]

    def test_no_redirect_leads_from_https_to_http(self, fetch: Fetch, tmp_path: Path) -> None:
        serving, trusting = make_certificate(tmp_path, "images.example")
        with Server({"/b.png": ok(PNG)}) as plain:
            hop = redirect(url_of(plain, "/b.png"))
            with Server({"/a.png": hop}, tls=serving) as server:
                policy = policy_for(server, plain, url_schemes=("https",))
                url = url_of(server).replace("http:", "https:")
                error = rejected(fetch, url, policy, network(tls=trusting))
        assert error.reason == "url_not_allowed"
        assert plain.heads == []


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
