"""Who answers in another's name: redirects, name servers and certificates that lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake import load_image
from guardalign_middleware.intake.fetch import Network
from tests.support.fetching import (
    INNER,
    OUTER,
    PNG,
    Fetch,
    local_servers,
    may_dial,
    network,
    policy_for,
    rejected,
    url_of,
)
from tests.support.servers import Server, make_certificate, ok, redirect


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
        """With the real name resolution, and a policy that bypasses its own validation."""
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
            # No authority has signed this certificate.
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
