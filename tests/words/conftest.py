"""The reader with its real networks, loaded once."""

import pytest

from guardalign_middleware.words.reader import RapidReader


@pytest.fixture(scope="session")
def reader() -> RapidReader:
    return RapidReader.load(max_pixels=1_500_000)
