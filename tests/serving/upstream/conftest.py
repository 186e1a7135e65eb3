"""One guarded server in front of one recording upstream, for all modules here."""

from collections.abc import Iterator

import pytest

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import red_guard
from tests.support.serving import KEY, served
from tests.support.upstream import Recorded, recording

UPSTREAM_KEY = "sk-upstream-secret"


@pytest.fixture(scope="package")
def double() -> Recorded:
    return Recorded()


@pytest.fixture(scope="package")
def upstream_url(double: Recorded) -> Iterator[str]:
    with recording(double) as address:
        yield address


@pytest.fixture(scope="package")
def url(upstream_url: str) -> Iterator[str]:
    config = ServeConfig(upstream=f"{upstream_url}/v1")
    options = ServeOptions(config, api_key=KEY, upstream_key=UPSTREAM_KEY)
    with served(create_app(red_guard(), options)) as address:
        yield address


@pytest.fixture
def recorded(double: Recorded) -> Iterator[Recorded]:
    yield double
    double.__init__()  # type: ignore[misc]
