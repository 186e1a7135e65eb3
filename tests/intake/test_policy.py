from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from guardalign_middleware.config import IntakePolicy


def test_what_is_risky_is_off() -> None:
    policy = IntakePolicy()
    assert policy.allow_url_hosts == ()
    assert policy.url_schemes == ("https",)
    assert policy.frames == "reject"
    assert not policy.allow_paths


@pytest.mark.parametrize(
    "field",
    [
        {"formats": ("EPS",)},
        {"formats": ("png",)},
        {"background": (0, 0, 256)},
        {"frames": "first"},
        {"max_frames": 0},
        {"max_total_pixels": 0},
        {"url_schemes": ("file",)},
        {"max_url_redirects": -1},
        {"max_url_seconds": 0},
        {"max_url_seconds": float("inf")},
    ],
)
def test_a_senseless_field_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(field))):
        IntakePolicy(**field)


def test_hosts_are_names_in_any_case_with_or_without_a_port() -> None:
    hosts = ("Images.Example", "localhost", "a-b.c_d.example:8443", "xn--bcher-kva.example")
    assert IntakePolicy(allow_url_hosts=hosts).allow_url_hosts == tuple(map(str.lower, hosts))


@pytest.mark.parametrize(
    "host",
    [
        "",
        "*",
        "*.example",
        ".example",
        "images.example.",
        "https://images.example",
        "images.example/a",
        "user@images.example",
        "images.example:",
        "images example",
        "bücher.example",
        "127.0.0.1",
        "8.8.8.8",
        "2130706433",
        "0177.0.0.1",
        "0x7f000001",
        "0x7f.1:80",
        "images.0x7f",
        "[::1]",
        "::1",
    ],
)
def test_addresses_wildcards_and_urls_are_no_hosts(host: str) -> None:
    with pytest.raises(ValidationError, match="host names"):
        IntakePolicy(allow_url_hosts=(host,))
