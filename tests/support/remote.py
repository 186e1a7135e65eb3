"""A guard behind a real server on a loopback socket, and its remote double."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from guardalign_middleware import ImageGuard, RemoteImageGuard
from guardalign_middleware.config import ServeConfig
from guardalign_middleware.serving import ServeOptions, create_app
from tests.support.serving import served

KEY = "a-key-of-sixteen-characters"
loopback = pytest.mark.allow_hosts(["127.0.0.1"])


@contextmanager
def behind_server(guard: ImageGuard, **limits: Any) -> Iterator[RemoteImageGuard]:
    """The guard, served, as its clients have it."""
    app = create_app(guard, ServeOptions(ServeConfig(**limits), api_key=KEY))
    with served(app) as url, RemoteImageGuard(url, api_key=KEY) as remote:
        yield remote
