"""`guardalign serve --ray` when it is ended before anything is served; without Ray."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from guardalign_middleware.cli import serve_ray


class Cluster:
    """A cluster on which a signal comes while servers are started."""

    def __init__(self) -> None:
        self.joined = False

    @contextmanager
    def join(self, address: str) -> Iterator[Cluster]:
        self.joined = True
        try:
            yield self
        finally:
            self.joined = False

    def cluster_resources(self) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal was not heard")


@pytest.fixture(autouse=True)
def _without_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(serve_ray, "require_ray", lambda serving: None)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_sigterm_while_servers_start_ends_the_cluster_with_status_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster()
    monkeypatch.setattr(serve_ray, "joined", cluster.join)
    with pytest.raises(SystemExit) as ended:
        serve_ray.run_serve_on_ray("mini", {}, address="local", replicas=None)
    assert ended.value.code == 0
    assert not cluster.joined


def test_sigterm_while_ray_starts_is_status_0(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def join(address: str) -> Iterator[Cluster]:
        raise SystemExit(1)  # as Ray's own handler does
        yield Cluster()

    monkeypatch.setattr(serve_ray, "joined", join)
    assert serve_ray.run_serve_on_ray("mini", {}, address="local", replicas=None) == 0
