from __future__ import annotations

import asyncio
from typing import Any

import pytest

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.intake.fetch import afetch_bytes, fetch_bytes
from tests.support.fetching import Fetch


def afetch_in_a_loop(url: str, policy: IntakePolicy, **options: Any) -> bytes:
    return asyncio.run(afetch_bytes(url, policy, **options))


@pytest.fixture(params=[fetch_bytes, afetch_in_a_loop], ids=["sync", "async"])
def fetch(request: pytest.FixtureRequest) -> Fetch:
    return request.param
