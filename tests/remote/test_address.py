"""Every connection has the same rule for an address to which no request could be sent."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from guardalign_middleware.connections import service_url
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.mcp.upstream import Upstream
from guardalign_middleware.remote.address import checked_url

LITELLM = Path(__file__).parents[2] / "integrations/litellm-guardalign/litellm_guardalign"
Check = tuple[Callable[[str], object], type[Exception]]


@pytest.fixture(params=["service", "remote", "mcp", "litellm"])
def check(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Check:
    """What takes an address, and the error with which it refuses one."""
    match request.param:
        case "service":
            return lambda url: service_url(url, "service"), ConfigError
        case "remote":
            return lambda url: checked_url(url, allow_http=True), ConfigError
        case "mcp":
            return Upstream, ConfigError
    # Its package imports LiteLLM, which is not installed here; this module needs none of it.
    package = ModuleType("litellm_guardalign")
    package.__path__ = [str(LITELLM)]
    for name in ("", ".errors", ".server"):
        monkeypatch.delitem(sys.modules, f"litellm_guardalign{name}", raising=False)
    monkeypatch.setitem(sys.modules, "litellm_guardalign", package)
    server = import_module("litellm_guardalign.server")
    error = import_module("litellm_guardalign.errors").SetupError
    return lambda url: server.GuardServer(url, None, 1.0, allow_http=True), error


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "ftp://127.0.0.1",
        "http://",
        "http://127.0.0.1:8000/?",
        "http://127.0.0.1:8000/v1?",
        "http://127.0.0.1:8000/#",
        "http://127.0.0.1:8000/v1#part",
        "http://me:secret@127.0.0.1",
        "http://127.0.0.1:0",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:8000/my path",
        "http://127.0.0.1:8000/\u00a0x",
        "https://guard.example/ ",
        "https://a b.example/",
        " http://127.0.0.1:8000",
        "http://127.0.0.1:8000\n",
        "http://[::1/v1",
        "https://1.2.3.999/",
    ],
)
def test_an_address_that_no_request_can_be_sent_to_is_refused(check: Check, url: str) -> None:
    takes, error = check
    with pytest.raises(error) as caught:
        takes(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000",
        "http://127.0.0.1:8000/",
        "http://localhost:8000/team/v1/",
        "HTTPS://Guard.Example",
        "https://guard.example/my%20path",
        "https://bücher.example/v1",
        "http://[::1]:8000/",
        "http://@127.0.0.1",
    ],
)
def test_an_address_as_services_have_it_is_accepted(check: Check, url: str) -> None:
    takes, _ = check
    takes(url)


def test_mcp_keeps_a_query() -> None:
    assert str(Upstream("https://mcp.example/mcp?team=a")._url).endswith("/mcp?team=a")
