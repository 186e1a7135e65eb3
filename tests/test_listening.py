from __future__ import annotations

import pytest

from guardalign_middleware.listening import host_in, is_loopback


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("LocalHost", True),
        ("0.0.0.0", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("", False),
    ],
)
def test_loopback_addresses(host: str, local: bool) -> None:
    assert is_loopback(host) is local


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://LocalHost:8000", "localhost"),
        ("//[::1]:8000", "::1"),
        ("//127.0.0.1:port", "127.0.0.1"),
        ("//[", ""),
        ("http://[zz]", ""),
        ("null", ""),
        ("", ""),
    ],
)
def test_the_host_of_a_header(url: str, host: str) -> None:
    assert host_in(url) == host
