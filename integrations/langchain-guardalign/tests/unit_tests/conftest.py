"""One image in every dialect, for the tests of whatever meets them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from guardalign_middleware.intake.messages import parse_messages
from guardalign_middleware.testing import png
from guardalign_middleware.testing.dialects import blocks_of
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign.message_walk import find_images

Forms = Callable[[CanonicalImage], dict[str, Any]]


@pytest.fixture(scope="session")
def forms() -> Forms:
    """The blocks by the name of their dialect."""
    return lambda image: blocks_of(png(image), "image/png")


@pytest.fixture(scope="session")
def pictures() -> Callable[[object], list[CanonicalImage]]:
    """Every image in a value, decoded, in reading order."""

    def decode(value: object) -> list[CanonicalImage]:
        parts = [found.part for found in find_images(value)]
        return [
            parse_messages([{"role": "user", "content": [part]}])[0].images[0] for part in parts
        ]

    return decode
