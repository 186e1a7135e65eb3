"""Policies, names and addresses for tests that fetch from the servers of `servers.py`.

Only `Network`, which is not configurable by a policy, lets them contact those.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake.addresses import is_public_address
from guardalign_middleware.intake.fetch import Network
from tests.support.pictures import encode, gradient
from tests.support.servers import Server

# 127.0.0.1 plays the internet, and 127.0.0.2 the private network. Both can be reached from here, so
# the second server notices any hole in the code.
OUTER, INNER = "127.0.0.1", "127.0.0.2"
local_servers = pytest.mark.allow_hosts([OUTER, INNER])
PNG = encode(gradient())
Fetch = Callable[..., bytes]


def policy_for(*servers: Server, **changes: Any) -> IntakePolicy:
    hosts = [f"{name}:{server.port}" for server in servers for name in ("images.example", "b.test")]
    # Long, so that a busy machine is not taken for a slow server; tests of the deadline set theirs.
    fields = {"allow_url_hosts": hosts, "url_schemes": ["http"], "max_url_seconds": 300.0}
    return IntakePolicy(**{**fields, **changes})


def may_dial(address: str) -> bool:
    return address == OUTER or is_public_address(address)


def network(*answers: Sequence[str], tls: ssl.SSLContext | None = None) -> Network:
    """Names resolve to each of the answers in turn; the last one is repeated."""
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
