"""What connections to a service need is checked when they are set up, not at each request."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from guardalign_middleware import connections
from guardalign_middleware.config import ServeConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.judges import ChatEndpoint
from guardalign_middleware.mcp.upstream import Upstream as McpServer
from guardalign_middleware.remote.connection import Connection
from guardalign_middleware.serving.upstream.client import Upstream
from guardalign_middleware.words.guards.endpoint import ModerationGuard

Service = Callable[[str], object]
SERVICES = [ModerationGuard, lambda url: ChatEndpoint(url, "m")]
every_service = pytest.mark.parametrize("service", SERVICES, ids=["moderation", "chat"])


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-right")


@every_service
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PROXY", "http://u:sk-secret@1.2.3.999:1"),
        ("ALL_PROXY", "ftp://u:sk-secret@127.0.0.1"),
        ("SSL_CERT_FILE", "/sk-secret/nowhere.pem"),
    ],
)
def test_an_environment_that_reaches_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, service: Service, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="cannot be set up") as caught:
        service("https://host.example/v1")
    assert name in caught.value.remedy
    assert "sk-secret" not in str(caught.value)


@every_service
@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://[::1/v1", "'http://[::1/v1'"),
        ("https://host.example:99999/v1", "'https://host.example:99999/v1'"),
        ("https://1.2.3.999/v1", "'https://1.2.3.999/v1'"),
        ("https://host.example/v1#part", "'https://host.example/v1#part'"),
        ("https://host.example/v1#", "'https://host.example/v1#'"),
        ("https://host.example/v1?", "'https://host.example/v1'"),
        (" https://host.example/v1", "' https://host.example/v1'"),
        ("https://host example/v1", "'https://host example/v1'"),
        ("https://user:sk-secret@host.example/v1", "'host.example/v1'"),
        ("https://host.example/v1?key=sk-secret", "'https://host.example/v1'"),
    ],
)
def test_an_address_that_no_request_can_be_sent_to_is_refused(
    service: Service, url: str, shown: str
) -> None:
    with pytest.raises(ConfigError, match="is not the URL") as caught:
        service(url)
    assert caught.value.message.startswith(shown)
    assert "sk-secret" not in str(caught.value)


@every_service
@pytest.mark.parametrize("key", ["sk-ü-secret", "sk secret", "sk\n-secret"])
def test_a_key_that_no_header_can_hold_is_refused(
    monkeypatch: pytest.MonkeyPatch, service: Service, key: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ConfigError, match="The key in OPENAI_API_KEY should hold") as caught:
        service("https://host.example/v1")
    assert "secret" not in str(caught.value)


URL = "http://127.0.0.1:1/v1"
KEPT: dict[str, Callable[[], object]] = {
    "upstream": lambda: Upstream(ServeConfig(upstream=URL)),
    "guard": lambda: Connection(httpx.URL(URL), None, 1.0, 0, None)._open(),
    "mcp": lambda: McpServer(URL)._connected(),
    "chat": lambda: ChatEndpoint(URL, "m"),
}


@pytest.mark.parametrize("name", KEPT)
def test_a_connection_is_closed_before_the_service_closes_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """uvicorn closes an idle one after five seconds, which is httpx's own time, too."""
    kept: list[float | None] = []

    class Noted(httpx.Limits):
        def __init__(self, **limits: int | None) -> None:
            super().__init__(**limits)
            kept.append(self.keepalive_expiry)

    monkeypatch.setattr(httpx, "Limits", Noted)
    KEPT[name]()
    assert kept == [connections.IDLE_SECONDS]
    assert connections.IDLE_SECONDS < 5.0
