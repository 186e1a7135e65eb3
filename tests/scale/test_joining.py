"""Joining a cluster: its token, and errors that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.scale import cluster
from guardalign_middleware.scale.cluster import give_token, joined, refusal
from guardalign_middleware.scale.extra import require_ray


def test_a_cluster_of_this_process_gets_a_token_that_is_written_nowhere(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    give_token(environment, tmp_path)
    assert environment["RAY_AUTH_MODE"] == "token"
    assert len(environment["RAY_AUTH_TOKEN"]) == 64
    again = dict(environment)
    give_token(again, tmp_path)
    assert again == environment
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "given", [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN_PATH": "/run/secrets/ray"}]
)
def test_what_is_set_up_stays(given: dict[str, str], tmp_path: Path) -> None:
    environment = dict(given)
    give_token(environment, tmp_path)
    assert environment == given


def test_a_token_in_the_home_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0" * 64)
    environment: dict[str, str] = {}
    give_token(environment, tmp_path)
    assert not environment


def test_a_refused_token_and_a_missing_cluster_are_told_apart() -> None:
    class AuthenticationError(RuntimeError):
        pass

    assert "RAY_AUTH_TOKEN" in refusal("auto", AuthenticationError("no")).remedy
    assert "ray start --head" in refusal("10.0.0.1:6379", ConnectionError("unreachable")).remedy


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guardalign_middleware.local_extra.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"guardalign-core\[ray\]"):
        require_ray()
    monkeypatch.setattr(cluster, "require_ray", lambda: require_ray(serving=True))
    with pytest.raises(ConfigError, match="watchfiles"), joined("auto"):
        pass
