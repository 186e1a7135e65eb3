"""Collects these tests only in the environment that `make gateways` makes."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

if find_spec("litellm") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from tests.gateways.front import Front, front_of
    from tests.gateways.processes import guard_server
    from tests.support.upstream import Recorded, recording

    @pytest.fixture(scope="session")
    def guard_url() -> Iterator[str]:
        with guard_server() as url:
            yield url

    @pytest.fixture(scope="session")
    def standing_front(guard_url: str) -> Iterator[tuple[Front, str]]:
        with front_of(guard_url) as made:
            yield made

    @pytest.fixture
    def front(standing_front: tuple[Front, str]) -> Iterator[Front]:
        front, _ = standing_front
        front.asked.clear()
        yield front
        front.answer, front.asleep = None, False

    @pytest.fixture(scope="session")
    def standing_upstream() -> Iterator[tuple[Recorded, str]]:
        recorded = Recorded()
        with recording(recorded) as url:
            yield recorded, url

    @pytest.fixture
    def upstream(standing_upstream: tuple[Recorded, str]) -> Recorded:
        recorded, _ = standing_upstream
        recorded.requests.clear()
        return recorded
