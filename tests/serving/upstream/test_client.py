"""The connections to an upstream: what they need is there at the start, and they end."""

import pytest
from fastapi.testclient import TestClient

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import red_guard

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PROXY", "http://u:sk-secret@1.2.3.999:1"),
        ("ALL_PROXY", "ftp://u:sk-secret@127.0.0.1"),
        ("SSL_CERT_FILE", "/sk-secret/nowhere.pem"),
    ],
)
def test_an_environment_that_reaches_nothing_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="cannot be set up") as caught:
        create_app(red_guard(), ServeOptions(ServeConfig(upstream="http://127.0.0.1:9")))
    assert "sk-secret" not in str(caught.value)


def test_an_app_that_ended_can_start_again(upstream_url: str) -> None:
    app = create_app(red_guard(), ServeOptions(ServeConfig(upstream=upstream_url)))
    for _ in range(2):
        with TestClient(app, base_url="http://127.0.0.1") as client:
            assert client.get("/v1/models").json()["data"][0]["id"] == "m"
